/** `tenure check`: checks a project without a server, for CI pipelines. */
import { countText } from '../../../api/charts/figures.ts'
import { counted } from '../../../domain/figures.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import type { Terminal } from '../../terminal.ts'
import type { CheckedModel } from '../../check/check-project.ts'

export const checkCommand: CommandSpec = {
  name: 'check',
  summary:
    'Check model files, release policies and types, read a few rows of each model and train it on them, without a server; exit code 6 if a check fails',
  options: [['--no-training', 'Read no rows and train nothing']],
  examples: ['check', 'check --no-training', 'check --json'],
  async run({ terminal }, { options }) {
    const trains = options['training'] !== false
    const { requireSetUp } = await import('../../doctor/set-up.ts')
    await requireSetUp(trains ? [] : ['node', 'tensorflow', 'addon'])
    const { checkProject } = await import('../../check/check-project.ts')
    const startedMs = Date.now()
    const checked = await checkProject({
      train: trains,
      onModel: (model) => terminal.say(...linesOf(terminal, model)),
    })
    const { settings, types, models, ok } = checked
    const warned = models.some(({ leaks }) => leaks !== undefined)
    const wrong = terminal.paint('red', '✗')
    const problems = [settings, types, ...models].reduce((sum, { issues }) => sum + issues.length, 0)
    const summary = !ok
      ? `${wrong} ${counted(Math.max(1, problems), 'problem')}`
      : warned
        ? 'No errors, but the gate may refuse a model: see the warnings'
        : `${terminal.paint('green', '✓')} ${counted(models.length, 'model')} valid`
    const lines = [
      ...(models.length === 0
        ? [
            `${wrong} no model file in ${checked.folder}: write one, or let \`tenure init --from rows.csv\` write it`,
          ]
        : []),
      ...settings.issues.map((issue) => `${wrong} ${issue}`),
      ...types.issues.map((issue) => `${wrong} ${issue}`),
      ...(types.checked
        ? []
        : ['  types are not checked: the project has no TypeScript or no tsconfig.json']),
      `${summary} (${((Date.now() - startedMs) / 1_000).toFixed(1)} s).`,
    ]
    terminal.answer(checked, lines.join('\n'))
    return ok ? exitCodes.done : exitCodes.otherwise
  },
}

function linesOf(
  { paint }: Terminal,
  { name, issues, rows, read, skipped, leaks, cycles, narrow, note, decidable }: CheckedModel,
): string[] {
  if (issues.length > 0)
    return [
      `${paint('red', '✗')} ${name}`,
      ...issues.flatMap((issue) => issue.split('\n')).map((line) => `    ${line}`),
    ]
  const readRows = read === undefined ? '' : `${countText(read)} rows read, `
  const how = rows === undefined ? `${readRows}not trained: ${skipped}` : `trained on ${countText(rows)} rows`
  return [
    `${paint('green', '✓')} ${name}: ${how}`,
    ...(leaks ?? []).map((leak) => paint('yellow', `    ${leak}`)),
    ...[narrow, note].flatMap((each) => (each === undefined ? [] : [paint('yellow', `    ${each}`)])),
    ...[...(cycles ?? []), ...(decidable === undefined ? [] : [decidable])].map((line) => `    ${line}`),
  ]
}
