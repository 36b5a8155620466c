/** `tenure doctor`: checks machine, configuration and installation, and prints a remedy for each problem. */
import { counted } from '../../../domain/figures.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import type { Terminal } from '../../terminal.ts'
import type { Finding, FindingState } from '../../doctor/finding.ts'

export const doctorCommand: CommandSpec = {
  name: 'doctor',
  summary:
    'Check machine, configuration and installation; exit code 6 if a check fails or a server is not checked (but with --deep)',
  options: [
    ['--strict', 'Exit code 6 for warnings too'],
    ['--verify', 'Hash every cached file of the set-up again (about 1 GB)'],
    ['--deep', 'Start the embedded database for the check if it is stopped'],
  ],
  examples: ['doctor', 'doctor --deep', 'doctor --json', 'doctor --strict || exit 1'],
  async run({ terminal }, { options }) {
    const { examine } = await import('../../doctor/doctor.ts')
    const findings = await examine({
      deep: options['deep'] === true,
      verify: options['verify'] === true,
      onFinding: (finding) => terminal.say(...linesOf(terminal, finding)),
    })
    const count = (state: FindingState) => findings.filter((each) => each.state === state).length
    const [faults, warnings] = [count('broken'), count('warning')]
    const missed = findings.filter(({ check, state }) => state === 'skipped' && ofServers.includes(check))
    const unchecked = missed.map(({ check }) => check)
    const found = faults + warnings === 0 ? '' : `${faults} broken, ${counted(warnings, 'warning')}`
    const summary =
      unchecked.length > 0
        ? terminal.paint('yellow', `${found || 'No fault found'}; not checked: ${unchecked.join(', ')}`)
        : found || terminal.paint('green', 'All checks passed')
    terminal.answer({ broken: faults, warnings, unchecked, findings }, `\n${summary}`)
    // With --deep, the check of a stopped installation was asked for.
    const isComplete = missed.length === 0 || options['deep'] === true
    const isFine = faults === 0 && isComplete && (options['strict'] !== true || warnings === 0)
    return isFine ? exitCodes.done : exitCodes.otherwise
  },
}

/** Checks without which an installation is not known to work. */
const ofServers = ['database', 'temporal', 'workflows']

const styles = { ok: 'green', warning: 'yellow', broken: 'red', skipped: 'dim' } as const

function linesOf({ paint }: Terminal, { check, state, found, next }: Finding): string[] {
  const head = `${paint(styles[state], state.padEnd(8))} ${check.padEnd(20)} ${state === 'skipped' ? paint('dim', found) : found}`
  return next === undefined ? [head] : [head, `${' '.repeat(30)}${next}`]
}
