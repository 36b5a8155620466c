// @ts-check
// Formats the documents that check.sh stored as Markdown, for a comment: node report.mjs <folder>. Writes what an approval
// names to checked.txt.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const folder = process.argv[2] ?? '.'

/** @typedef {Record<string, any>} Json */

/** @param {string} name @returns {Json | undefined} Undefined for a command that has failed without a document. */
function read(name) {
  try {
    return JSON.parse(readFileSync(join(folder, name), 'utf8'))
  } catch {
    return undefined
  }
}

/** Escapes a text of a model file, which must not end a cell or begin markup. @param {unknown} text */
const cell = (text) =>
  String(text ?? '–')
    .slice(0, 500)
    // oxlint-disable-next-line no-control-regex -- what a terminal obeys, and what reverses the direction of writing
    .replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '?')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/[\\`*_{}[\]<>|#&~]/g, (sign) => `\\${sign}`)
    .replaceAll(/@|:(?=\/\/)|\bwww(?=\.)/gi, (sign) => `${sign}&#8203;`)

/** The same for a line, which must not begin a list or a heading either. @param {unknown} text */
const line = (text) => cell(text).replace(/^( *\d*)([-+=.)])/, String.raw`$1\$2`)

/** @param {string[]} head @param {unknown[][]} rows */
const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows.map((row) => row.map(cell))]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n')

/** @param {unknown} value */
const digits = (value) => (typeof value === 'number' ? String(Number(value.toPrecision(4))) : '–')
/** @param {unknown} value */
const signed = (value) => (typeof value === 'number' && value >= 0 ? `+${digits(value)}` : digits(value))
/** @param {Json} row */
const interval = ({ low, high }) => (typeof low === 'number' ? `${signed(low)} to ${signed(high)}` : '–')

/** @param {Json | undefined} release */
function releaseText(release) {
  if (release === undefined)
    return ['## Release', '`tenure releases show` has failed; the log of the job says why.']
  const { id, model, version, stage, artifact_digest, evaluation_digest, policy_digest } = release
  const checked = { id, version, stage, artifact_digest, evaluation_digest, policy_digest }
  writeFileSync(join(folder, 'checked.txt'), `${Object.values(checked).join(' ')}\n`)
  const facts = { ...checked, replaces: release['baseline_version'], why: release['why'] }
  return [
    `## Release of ${cell(version)} in ${cell(stage)}`,
    table(['release', cell(id)], Object.entries(facts).slice(1)),
    ...tryText(model, release),
  ]
}

/** @param {Json | undefined} checked */
function checkText(checked) {
  if (checked === undefined) return ['## Check', '`tenure check` has failed; the log of the job says why.']
  const { models = [], settings = {}, types = {}, ok } = checked
  const issues = [...(settings.issues ?? []), ...(types.issues ?? [])]
  return [
    `## Check: ${ok ? 'everything is right' : 'something is wrong'}`,
    ...issues.map((issue) => `- ${line(issue)}`),
    ...(models.length === 0
      ? []
      : [
          table(
            ['model', 'result'],
            models.map((/** @type {Json} */ { name, issues: own = [], rows, skipped }) => [
              name,
              own.length > 0
                ? own.join('; ')
                : rows === undefined
                  ? `not trained: ${skipped}`
                  : `trained on ${rows} rows`,
            ]),
          ),
        ]),
  ]
}

/** @param {string} model @param {Json | undefined} tried */
function tryText(model, tried) {
  const { evaluation, outcome, message } = tried ?? {}
  if (evaluation === undefined)
    return [`## ${cell(model)}: not evaluated`, line(message ?? outcome ?? 'the log of the job says why')]
  const { metrics = [], slices = [], reasons = [] } = evaluation.report ?? {}
  return [
    `## ${cell(model)}: ${cell(evaluation.verdict)}${evaluation.baseline_version ? ` against ${cell(evaluation.baseline_version)}` : ''}`,
    table(
      ['metric', 'champion', 'challenger', 'paired gain', 'interval'],
      metrics.map((/** @type {Json} */ row) => [
        row.metric,
        digits(row.champion),
        digits(row.challenger),
        signed(row.delta),
        interval(row),
      ]),
    ),
    ...(slices.length === 0
      ? []
      : [
          table(
            ['slice', 'rows', 'paired gain', 'verdict'],
            slices.map((/** @type {Json} */ row) => [row.name, row.rows, signed(row.delta), row.verdict]),
          ),
        ]),
    ...reasons.map((/** @type {Json} */ { message: why }) => `- ${line(why)}`),
  ]
}

/** @param {Json[]} simulated */
function simulationText(simulated) {
  if (simulated.length === 0) return []
  return [
    '## Simulated outcome of the release policy',
    table(
      [
        'policy',
        'scenario',
        'releases',
        'promoted',
        'rolled back',
        'held',
        'false rollbacks',
        'minutes to detect, p50 / p95',
      ],
      simulated.map((row) => [
        row['model'],
        row['scenario'],
        row['releases'],
        row['promoted'],
        row['rolledBack'],
        row['held'],
        `${digits(100 * row['falseRollbackRate'])} %`,
        `${digits(row['minutesToDetect']?.p50)} / ${digits(row['minutesToDetect']?.p95)}`,
      ]),
    ),
  ]
}

const names = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .sort()
const tries = names.filter((name) => name.startsWith('try-'))
const simulations = names.flatMap((name) => {
  const found = name.startsWith('simulate-') ? read(name) : undefined
  const model = /^simulate-(.+)-[^-]+\.json$/.exec(name)?.[1]
  return found === undefined ? [] : [{ model, ...found }]
})
const parts = [
  ...(names.includes('release.json') ? releaseText(read('release.json')) : checkText(read('check.json'))),
  ...tries.flatMap((name) => tryText(name.slice(4, -5), read(name))),
  ...simulationText(simulations),
]
process.stdout.write(`# Tenure\n\n${parts.join('\n\n')}\n`)
