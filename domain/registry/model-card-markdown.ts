/** Renders the card of a version as Markdown, for files and mail. */
import { challengerText, verdictText } from '../evaluation/metric-table.ts'
import { firstNames } from '../errors.ts'
import { gainText, groupedDigits, metricName, metricText, numberText } from '../figures.ts'
import { escapedText, titledTable } from '../markdown.ts'
import type { ModelCard } from './model-card.ts'

export function cardMarkdown(card: ModelCard): string {
  const { evaluation, data, training, artifact } = card
  const { bytes } = artifact
  const { requestedBy: requester } = card.created
  const parts = [
    `# ${escapedText(card.version)}`,
    card.about === null ? '' : escapedText(card.about),
    list([
      ['Model', escapedText(card.model)],
      ['Status', escapedText(card.status)],
      ['Not released', card.notReleased === null ? null : escapedText(card.notReleased)],
      ['Registered', `${card.created.at} by ${escapedText(card.created.by)}`],
      ['Requested by', requester === null || requester === card.created.by ? null : escapedText(requester)],
      ['Reason', card.created.reason === null ? null : escapedText(withNote(card.created))],
      ['Proven', card.knownGoodAt],
      ['Rolled back', card.rolledBackAt],
    ]),
    `## Limitations\n\n${bullets(card.limits.length === 0 ? ['No known limitations'] : card.limits)}`,
    titledTable(
      '## Inputs and output',
      ['feature', 'kind', 'unit', 'range or values', 'missing'],
      card.asks.map((each) => [
        escapedText(each.name) + (each.about === null ? '' : ` (${escapedText(each.about)})`),
        each.kind,
        escapedText(each.unit ?? '—'),
        escapedText(each.range ?? 'any'),
        each.missing,
      ]),
    ),
    `Output: ${escapedText(card.answers)}.`,
    ...(evaluation === null ? [] : evaluationParts(evaluation)),
    '## Provenance',
    list([
      ['Origin', data.origin === 'trained' ? null : 'trained elsewhere and brought'],
      ['Trained on', data.trainedOn === null ? null : escapedText(data.trainedOn)],
      ['Snapshot', code(data.snapshot)],
      ['Data as of', data.asOf],
      ['Newest training event', data.newestEvent],
      ['Training rows', whole(data.trainRows)],
      ['Test rows', whole(data.testRows)],
      ['Code', code(training.code)],
      ['Dependencies', code(training.dependencies)],
      ...runtimeOf(training.packages),
      ['Seed', training.seed === null ? null : String(training.seed)],
      ['Hyperparameters', hyperparametersOf(training)],
      ['Artifact', code(artifact.digest)],
      ['Library', artifact.library === null ? null : escapedText(artifact.library)],
      ['Size', bytes === null ? null : sizeOf(artifact)],
    ]),
  ]
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`
}

/** `units 16, epochs 3 (set by the request)`; null without hyperparameters. */
function hyperparametersOf({ hyperparameters, overrides }: ModelCard['training']): string | null {
  const shown = Object.entries(hyperparameters).map(
    ([name, value]) =>
      `${name} ${String(value)}${Object.hasOwn(overrides, name) ? ' (set by the request)' : ''}`,
  )
  return shown.length === 0 ? null : escapedText(shown.join(', '))
}

const maxPackages = 30

/** Python or Node with its version, and the other packages. */
function runtimeOf({ python, node, ...packages }: Record<string, string>): [string, string | null][] {
  const shown = Object.entries(packages).map(([name, version]) => `${name} ${version}`)
  return [
    ['Python', python === undefined ? null : escapedText(python)],
    ['Node', node === undefined ? null : escapedText(node)],
    ['Packages', shown.length === 0 ? null : escapedText(firstNames(shown.toSorted(), maxPackages))],
  ]
}

function evaluationParts(evaluation: ModelCard['evaluation'] & object): string[] {
  const against =
    evaluation.against === null ? 'its floors and the baseline' : escapedText(evaluation.against)
  return [
    '## Performance',
    `Evaluated **${escapedText(evaluation.verdict.replace('_', ' '))}** against ${against}${evaluation.rows === null ? '' : ` on ${whole(evaluation.rows)} test rows`}.`,
    bullets([...evaluation.reasons, ...evaluation.warnings]),
    table(
      'Metrics',
      ['metric', 'champion', 'this version', 'gain', 'interval', 'floor', 'verdict'],
      evaluation.metrics.map((row) => [
        escapedText(metricName(row.metric)),
        metricText(row.champion),
        challengerText(row, metricText),
        gainText(row.delta),
        row.low === null ? '—' : `${gainText(row.low)} to ${gainText(row.high)}`,
        numberText(row.floor),
        verdictText(row),
      ]),
    ),
    table(
      `Slices${evaluation.sliceMetric === null ? '' : ` by ${metricName(evaluation.sliceMetric)}`} (worst first)`,
      ['slice', 'rows', 'champion', 'this version', 'gain', 'verdict'],
      evaluation.slices.map((row) => [
        escapedText(row.name),
        whole(row.rows) ?? '—',
        metricText(row.champion),
        metricText(row.challenger),
        gainText(row.delta),
        row.verdict,
      ]),
    ),
    evaluation.calibration === null
      ? ''
      : `Calibration: Brier ${numberText(evaluation.calibration.brier)}, expected error ${numberText(evaluation.calibration.ece)}, ${evaluation.calibration.verdict}.`,
    table(
      'Fairness',
      ['attribute', 'smallest over largest selection rate', 'verdict'],
      evaluation.fairness.map((row) => [
        escapedText(row.attribute),
        numberText(row.selectionRatio),
        escapedText(row.finding),
      ]),
    ),
    table(
      'Behaviour tests',
      ['test', 'kind', 'verdict', 'finding'],
      evaluation.tests.map((row) => [
        escapedText(row.name),
        row.kind,
        row.verdict.replace('_', ' '),
        escapedText(row.message),
      ]),
    ),
    evaluation.importance === null
      ? ''
      : table(
          `Permutation importance: fall of ${escapedText(metricName(evaluation.importance.metric))}`,
          ['feature', 'fall', '95 % of the permutations'],
          evaluation.importance.features.map(({ feature, fall, low, high }) => [
            escapedText(feature),
            gainText(fall),
            low === null ? '—' : `${gainText(low)} to ${gainText(high)}`,
          ]),
        ),
  ]
}

const bullets = (lines: readonly string[]): string => lines.map((line) => `- ${escapedText(line)}`).join('\n')

function list(facts: readonly (readonly [string, string | null])[]): string {
  return facts
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `- ${name}: ${value}`)
    .join('\n')
}

function table(title: string, head: string[], rows: string[][]): string {
  return rows.length === 0 ? '' : titledTable(`### ${title}`, head, rows)
}

const sizeOf = ({ bytes, parameters }: ModelCard['artifact']): string =>
  `${whole(bytes)} bytes${parameters === null ? '' : `, ${whole(parameters)} parameters`}`

const whole = (value: number | null): string | null => (value === null ? null : groupedDigits(value))
const code = (value: string | null): string | null =>
  value === null ? null : `\`${value.replace(/[`\s]/g, '')}\``

const withNote = ({ reason, note }: ModelCard['created']): string =>
  note === null ? `${reason}` : `${reason}: ${note}`
