/** Renders the card of a version as Markdown, for files and mail. */
import { challengerText } from '../evaluation/metric-table.ts'
import { gateVerdictText, sliceVerdictText } from '../evaluation/verdict-words.ts'
import { costText } from '../model/cost.ts'
import { measureText } from '../evaluation/fairness.ts'
import { loadText } from '../model/load-test.ts'
import { firstNames } from '../errors.ts'
import { capitalized, gainText, groupedDigits, metricName, metricText, numberText } from '../figures.ts'
import { code, joinMarkdown, markup, titledTable, type Markdown, type MarkdownPart } from '../markdown.ts'
import type { ModelCard } from './model-card.ts'

export function cardMarkdown(card: ModelCard): string {
  const { evaluation, data, training, artifact } = card
  const { bytes } = artifact
  const { requestedBy: requester } = card.created
  const parts = [
    markup`# ${card.version}`,
    markup`${card.about ?? ''}`,
    list([
      ['Model', card.model],
      ['Owner', card.owner],
      ['Risk', card.risk],
      ['Status', card.status],
      ['Not released', card.notReleased],
      ['Registered', `${card.created.at} by ${card.created.by}`],
      ['Requested by', requester === card.created.by ? null : requester],
      ['Reason', card.created.reason === null ? null : withNote(card.created)],
      ['Known good since', card.knownGoodAt],
      ['Rolled back', card.rolledBackAt],
    ]),
    markup`## Limitations\n\n${bullets(card.limits.length === 0 ? ['No known limitations'] : card.limits)}`,
    titledTable(
      markup`## Inputs and output`,
      ['feature', 'kind', 'unit', 'range or values', 'missing'],
      card.asks.map((each) => [
        each.name + (each.about === null ? '' : ` (${each.about})`),
        each.dtype === null ? each.kind : `${each.kind} (${each.dtype})`,
        each.unit ?? '—',
        each.range ?? 'any',
        each.missing,
      ]),
    ),
    markup`Output: ${card.answers}.`,
    ...(evaluation === null ? [] : evaluationParts(evaluation)),
    ...(card.cost === null ? [] : [markup`## Cost\n\n${`${capitalized(costText(card.cost))}.`}`]),
    ...(card.loadTest === null
      ? []
      : [markup`## Load test\n\n${`${capitalized(loadText(card.loadTest))}.`}`]),
    markup`## Provenance`,
    list([
      ['Origin', origins[data.origin]],
      ['Compressed', data.compressed],
      ['Trained on', data.trainedOn],
      ['Snapshot', codeOf(data.snapshot)],
      ['Data as of', data.asOf],
      ['Refit', data.refit],
      ['Newest training event', data.newestEvent],
      ['Training rows', whole(data.trainRows)],
      ['Test rows', whole(data.testRows)],
      ['Code', codeOf(training.code)],
      ['Dependencies', codeOf(training.dependencies)],
      ...runtimeOf(training.packages),
      ['Seed', training.seed],
      ['Hyperparameters', hyperparametersOf(training)],
      ['Artifact', codeOf(artifact.digest)],
      [
        'Library',
        artifact.isCode
          ? `${artifact.library}, runs ${data.origin === 'brought' ? `code of ${card.created.requestedBy ?? card.created.by}` : 'code of its model file'} in a process of its own`
          : artifact.isRemote
            ? `${artifact.library}, which answers outside of this system`
            : artifact.library,
      ],
      ['Size', bytes === null ? null : sizeOf(artifact)],
    ]),
  ]
  return `${joinMarkdown(parts, '\n\n').markdown}\n`
}

const origins = {
  trained: null,
  brought: 'trained elsewhere and brought',
  distilled: 'a network that has learnt here what another version answers',
} as const

/** `units 16, epochs 3 (set by the request)`; null without hyperparameters. */
function hyperparametersOf({ hyperparameters, overrides }: ModelCard['training']): string | null {
  const shown = Object.entries(hyperparameters).map(
    ([name, value]) =>
      `${name} ${String(value)}${Object.hasOwn(overrides, name) ? ' (set by the request)' : ''}`,
  )
  return shown.length === 0 ? null : shown.join(', ')
}

const maxPackages = 30

/** Python or Node with its version, and the other packages. */
function runtimeOf({ python, node, ...packages }: Record<string, string>): [string, string | null][] {
  const shown = Object.entries(packages).map(([name, version]) => `${name} ${version}`)
  return [
    ['Python', python ?? null],
    ['Node', node ?? null],
    ['Packages', shown.length === 0 ? null : firstNames(shown.toSorted(), maxPackages)],
  ]
}

function evaluationParts(evaluation: ModelCard['evaluation'] & object): Markdown[] {
  const against = evaluation.against ?? 'its floors and the baseline'
  return [
    markup`## Performance`,
    markup`Evaluated **${gateVerdictText(evaluation.verdict, { isFirst: evaluation.against === null })}** against ${against}${evaluation.rows === null ? '' : ` on ${whole(evaluation.rows)} test rows`}.`,
    bullets([...evaluation.reasons, ...evaluation.warnings]),
    table(
      'Metrics',
      ['metric', 'champion', 'this version', 'gain', 'interval', 'floor', 'verdict'],
      evaluation.metrics.map((row) => [
        metricName(row.metric),
        metricText(row.champion),
        challengerText(row, metricText),
        gainText(row.delta),
        row.low === null ? '—' : `${gainText(row.low)} to ${gainText(row.high)}`,
        numberText(row.floor),
        row.result,
      ]),
    ),
    table(
      `Slices${evaluation.sliceMetric === null ? '' : ` by ${metricName(evaluation.sliceMetric)}`} (worst first)`,
      ['slice', 'rows', 'champion', 'this version', 'gain', 'verdict'],
      evaluation.slices.map((row) => [
        row.name,
        whole(row.rows) ?? '—',
        metricText(row.champion),
        metricText(row.challenger),
        gainText(row.delta),
        sliceVerdictText(row.verdict),
      ]),
    ),
    evaluation.calibration === null
      ? markup``
      : markup`Calibration: Brier ${numberText(evaluation.calibration.brier)}, expected error ${numberText(evaluation.calibration.ece)}, ${evaluation.calibration.verdict}.`,
    table(
      'Fairness',
      ['attribute', 'finding', 'measure', 'verdict'],
      evaluation.fairness.flatMap(({ attribute, finding, measures }) =>
        measures.map((measure) => [
          attribute,
          finding,
          measureText(measure, ({ value }) => numberText(value)),
          measure.verdict,
        ]),
      ),
    ),
    table(
      'Behaviour tests',
      ['test', 'kind', 'verdict', 'finding'],
      evaluation.tests.map((row) => [row.name, row.kind, row.verdict.replace('_', ' '), row.message]),
    ),
    evaluation.importance === null
      ? markup``
      : table(
          `Permutation importance: fall of ${metricName(evaluation.importance.metric)}`,
          ['feature', 'fall', '95 % of the permutations'],
          evaluation.importance.features.map(({ feature, fall, low, high }) => [
            feature,
            gainText(fall),
            low === null ? '—' : `${gainText(low)} to ${gainText(high)}`,
          ]),
        ),
  ]
}

const bullets = (lines: readonly string[]): Markdown =>
  joinMarkdown(
    lines.map((line) => markup`- ${line}`),
    '\n',
  )

const list = (facts: readonly (readonly [string, MarkdownPart | null])[]): Markdown =>
  joinMarkdown(
    facts.flatMap(([name, value]) => (value === null ? [] : [markup`- ${name}: ${value}`])),
    '\n',
  )

const table = (title: string, head: string[], rows: MarkdownPart[][]): Markdown =>
  rows.length === 0 ? markup`` : titledTable(markup`### ${title}`, head, rows)

const sizeOf = ({ bytes, parameters }: ModelCard['artifact']): string =>
  `${whole(bytes)} bytes${parameters === null ? '' : `, ${whole(parameters)} parameters`}`

const whole = (value: number | null): string | null => (value === null ? null : groupedDigits(value))
const codeOf = (value: string | null): Markdown | null => (value === null ? null : code(value))

const withNote = ({ reason, note }: ModelCard['created']): string =>
  note === null ? `${reason}` : `${reason}: ${note}`
