/** Renders the card of a version as Markdown, for files and mail. */
import type { ModelCard } from './model-card.ts'

export function cardMarkdown(card: ModelCard): string {
  const { evaluation, data, training, artifact } = card
  const parts = [
    `# ${text(card.version)}`,
    card.about === null ? '' : text(card.about),
    list([
      ['Model', text(card.model)],
      ['Status', text(card.status)],
      ['Registered', `${card.created.at} by ${text(card.created.by)}`],
      ['Requested by', card.created.requestedBy === null ? null : text(card.created.requestedBy)],
      ['Reason', card.created.reason === null ? null : text(card.created.reason)],
      ['Known good', card.knownGoodAt],
      ['Rolled back', card.rolledBackAt],
    ]),
    [
      '## Limitations',
      '',
      ...(card.limits.length === 0
        ? ['- No known limitations']
        : card.limits.map((limit) => `- ${text(limit)}`)),
    ].join('\n'),
    table(
      'Inputs',
      ['feature', 'kind', 'unit', 'range or values', 'missing'],
      card.asks.map((each) => [
        text(each.name) + (each.about === null ? '' : ` (${text(each.about)})`),
        each.kind,
        text(each.unit ?? '–'),
        text(each.range ?? 'any'),
        each.missing,
      ]),
    ),
    `Output: ${text(card.answers)}.`,
    ...(evaluation === null ? [] : evaluationParts(evaluation)),
    '## Provenance',
    list([
      ['Snapshot', code(data.snapshot)],
      ['Data as of', data.asOf],
      ['Training rows', whole(data.trainRows)],
      ['Test rows', whole(data.testRows)],
      ['Code', code(training.code)],
      ['Dependencies', code(training.dependencies)],
      ['Seed', training.seed === null ? null : String(training.seed)],
      ...Object.entries(training.hyperparameters).map(([name, value]): [string, string] => [
        text(name),
        text(String(value)),
      ]),
      ['Artifact', code(artifact.digest)],
      [
        'Size',
        artifact.bytes === null
          ? null
          : `${whole(artifact.bytes)} bytes, ${whole(artifact.parameters)} parameters`,
      ],
    ]),
  ]
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`
}

function evaluationParts(evaluation: ModelCard['evaluation'] & object): string[] {
  const against = evaluation.against === null ? 'its floors and the baseline' : text(evaluation.against)
  return [
    '## Performance',
    `Evaluated **${text(evaluation.verdict.replace('_', ' '))}** against ${against}${evaluation.rows === null ? '' : ` on ${whole(evaluation.rows)} test rows`}.`,
    bullets([...evaluation.reasons, ...evaluation.warnings]),
    table(
      'Metrics',
      ['metric', 'champion', 'this version', 'gain', 'interval', 'verdict'],
      evaluation.metrics.map((row) => [
        text(row.metric),
        number(row.champion),
        number(row.challenger),
        signed(row.delta),
        row.low === null ? '–' : `${signed(row.low)} to ${signed(row.high)}`,
        row.verdict.replace('_', ' '),
      ]),
    ),
    table(
      'Slices (worst first)',
      ['slice', 'rows', 'champion', 'this version', 'gain', 'verdict'],
      evaluation.slices.map((row) => [
        text(row.name),
        whole(row.rows) ?? '–',
        number(row.champion),
        number(row.challenger),
        signed(row.delta),
        row.verdict,
      ]),
    ),
    evaluation.calibration === null
      ? ''
      : `Calibration: Brier ${number(evaluation.calibration.brier)}, expected error ${number(evaluation.calibration.ece)}, ${evaluation.calibration.verdict}.`,
    table(
      'Fairness',
      ['attribute', 'smallest over largest selection rate', 'verdict'],
      evaluation.fairness.map((row) => [text(row.attribute), number(row.selectionRatio), row.verdict]),
    ),
  ]
}

const bullets = (lines: readonly string[]): string => lines.map((line) => `- ${text(line)}`).join('\n')

function list(facts: readonly (readonly [string, string | null])[]): string {
  return facts
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `- ${name}: ${value}`)
    .join('\n')
}

function table(title: string, head: string[], rows: string[][]): string {
  if (rows.length === 0) return ''
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`
  const rule = head.map((_, column) => (isNumeric(rows.map((row) => row[column]!)) ? '---:' : '---'))
  return [`### ${title}`, '', line(head), line(rule), ...rows.map(line)].join('\n')
}

const isNumeric = (cells: readonly string[]): boolean =>
  cells.some((cell) => /\d/.test(cell)) && cells.every((cell) => /^[-+−–]?[\d.,]*(?:e[-+−]?\d+)?$/.test(cell))

const number = (value: number | null): string => (value === null ? '–' : String(Number(value.toPrecision(4))))
const whole = (value: number | null): string | null =>
  value === null ? null : String(value).replace(/\B(?=(\d{3})+$)/g, ',')
const code = (value: string | null): string | null =>
  value === null ? null : `\`${value.replace(/[`\s]/g, '')}\``

function signed(value: number | null): string {
  if (value === null) return '–'
  return value > 0 ? `+${number(value)}` : value < 0 ? `−${number(-value)}` : '0'
}

/** Escapes names from data, so that they cannot open a table cell, a tag or a link. */
const text = (value: string): string =>
  value.replace(/\s+/g, ' ').replace(/[\\`*_{}[\]<>|#]/g, (sign) => `\\${sign}`)
