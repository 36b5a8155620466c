/** `tenure doctor`: checks machine, configuration and installation, and prints a remedy for each problem. */
import { counted } from '../../../domain/figures.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import type { Terminal } from '../../terminal.ts'
import type { Finding, FindingState } from '../../doctor/finding.ts'

export const doctorCommand: CommandSpec = {
  name: 'doctor',
  summary: 'Check machine, configuration and installation (running or not); exit code 6 if a check fails',
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
    const summary =
      faults + warnings === 0
        ? terminal.paint('green', 'All checks passed')
        : `${faults} broken, ${counted(warnings, 'warning')}`
    terminal.answer({ broken: faults, warnings, findings }, `\n${summary}`)
    return faults > 0 || (options['strict'] === true && warnings > 0) ? exitCodes.otherwise : exitCodes.done
  },
}

const styles = { ok: 'green', warning: 'yellow', broken: 'red', skipped: 'dim' } as const

function linesOf({ paint }: Terminal, { check, state, found, next }: Finding): string[] {
  const head = `${paint(styles[state], state.padEnd(8))} ${check.padEnd(20)} ${state === 'skipped' ? paint('dim', found) : found}`
  return next === undefined ? [head] : [head, `${' '.repeat(30)}${next}`]
}
