/** `tenure explain`: shows the contribution of each feature to the prediction for one row. */
import type {
  AttributedFeature,
  ExplainedPredictions,
} from '../../../domain/explanation/explained-predictions.ts'
import { path, usageError } from '../../client/client.ts'
import type { CommandSpec } from '../../program.ts'
import { tableBy, type Columns, type Terminal } from '../../terminal.ts'

const methods: Readonly<Record<ExplainedPredictions['method'], string>> = {
  tree_shap: 'exact, by trees',
  linear: 'exact, by weights',
  sampled: 'sampled, ± the 95 % interval',
}

export const explainCommand: CommandSpec = {
  name: 'explain <model> <row>',
  summary: 'Show what each feature of a row (JSON) adds to the answer of the champion',
  options: [
    ['--model-version <version>', 'Explain this version (default: the champion)'],
    [
      '--of <name>',
      'Explain the probability of this class, or this quantile or number (default: the likeliest, the middle, the first)',
    ],
  ],
  examples: [
    `explain iris '{"sepalLength": 5.1, "sepalWidth": 3.5, "petalLength": 1.4, "petalWidth": 0.2}'`,
    `explain iris '{"sepalLength": 5.1, "sepalWidth": 3.5, "petalLength": 1.4, "petalWidth": 0.2}' --of versicolor`,
  ],
  async run({ terminal, api }, { args, options }) {
    const row = parsedRow(String(args[1]))
    const of = options['of'] === undefined ? undefined : String(options['of'])
    const found = await api().post<ExplainedPredictions>(path`/v1/models/${args[0]}/explain`, {
      instances: [row],
      version: options['modelVersion'],
      of: of !== undefined && /^0?\.\d+$/.test(of) ? Number(of) : of,
    })
    terminal.answer(found, explanationText(terminal, found))
  },
}

/** The contributions of the features of the first row, as a table. */
export function explanationText(terminal: Terminal, found: ExplainedPredictions): string {
  const { version, method, scale, background, explanations } = found
  const [{ of: name, answer, base, score, attributions }] = explanations as [
    ExplainedPredictions['explanations'][0],
  ]
  const figure = (value: number) => Number(value.toPrecision(4))
  const exact: Columns<AttributedFeature> = {
    feature: 'feature',
    value: ({ value }) => value ?? 'missing',
    adds: ({ attribution }) => `${attribution < 0 ? '−' : '+'}${figure(Math.abs(attribution))}`,
  }
  const columns =
    method === 'sampled' ? { ...exact, '±': ({ error = 0 }: AttributedFeature) => figure(error) } : exact
  const table = tableBy(terminal, attributions, columns, { keeps: ['adds'] })
  const what = name === undefined ? '' : ` ${name}:`
  const sum = scale === 'raw' ? ` before the link function (the answer is ${figure(answer)})` : ''
  const mean = `the mean of ${background.rows} rows (${background.from})`
  return `${version}:${what} ${figure(score)}${sum}, ${figure(base)} is ${mean}; ${methods[method]}\n${table}`
}

function parsedRow(text: string): object {
  try {
    const row: unknown = JSON.parse(text)
    if (typeof row === 'object' && row !== null && !Array.isArray(row)) return row
  } catch {
    // The error below covers invalid JSON too.
  }
  throw usageError(`The row must be a JSON object such as {"size": 3}, not ${text.slice(0, 80)}`)
}
