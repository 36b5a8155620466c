/** `tenure doctor`: what is wrong with this machine, this configuration or this installation, and what to do about it. */
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import type { Terminal } from '../../terminal.ts'
import type { Finding, FindingState } from '../../doctor/finding.ts'

export const doctorCommand: CommandSpec = {
  name: 'doctor',
  summary:
    'looks at everything Tenure needs, running or not, and says what to do; exit code 6 when something is broken',
  options: [
    ['--strict', 'exit code 6 for warnings too'],
    ['--verify', 'hash every cached file of the set-up again, about 1 GB'],
    ['--deep', 'start the embedded database for a look when it does not run'],
  ],
  examples: [
    'doctor',
    'doctor --deep',
    'doctor --json',
    'doctor --strict || echo "not before somebody has looked"',
  ],
  async run({ terminal }, { options }) {
    const { examine } = await import('../../doctor/doctor.ts')
    const findings = await examine({
      deep: options['deep'] === true,
      verify: options['verify'] === true,
      tell: (finding) => terminal.say(...linesOf(terminal, finding)),
    })
    const count = (state: FindingState) => findings.filter((each) => each.state === state).length
    const [faults, warnings] = [count('broken'), count('warning')]
    const summary =
      faults + warnings === 0
        ? terminal.paint('green', 'Everything is as it should be.')
        : `${faults} broken, ${warnings} to be looked at.`
    terminal.answer({ broken: faults, warnings, findings }, `\n${summary}`)
    return faults > 0 || (options['strict'] === true && warnings > 0) ? exitCodes.otherwise : exitCodes.done
  },
}

const styles = { ok: 'green', warning: 'yellow', broken: 'red', skipped: 'dim' } as const

function linesOf({ paint }: Terminal, { check, state, found, next }: Finding): string[] {
  const head = `${paint(styles[state], state.padEnd(8))} ${check.padEnd(20)} ${state === 'skipped' ? paint('dim', found) : found}`
  return next === undefined ? [head] : [head, `${' '.repeat(30)}${next}`]
}
