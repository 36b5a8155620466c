/**
 * Distils pipelines of scikit-learn on real flights: trained, judged and registered on the whole system, then learnt by a small network. Writes
 * packages/lab/distil/distil.md. `npm run bench -- distil [--out FILE]`
 */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { compressionFindings, type GateCompression } from '../../../domain/evaluation/compression.ts'
import { fourDigits, groupedDigits } from '../../../domain/figures.ts'
import { modelsDirectory } from '../../../models/index.ts'
import { getEvaluation } from '../../../store/training/evaluations.ts'
import { listRetrainings } from '../../../store/training/retrainings.ts'
import { figureTable, machine } from '../../../test/support/figures.ts'
import { startHalfYearSystem, type HalfYearSystem } from '../half-year/system.ts'
import { readOptions, reportFile } from '../harness/options.ts'

const options = readOptions({ out: reportFile('distil/distil.md') })
const asOf = '2001-03-01T00:00:00.000Z'
const teachers = {
  logistic: 'one-hot encoding, imputation, scaling, logistic regression',
  boosted: 'ordinal encoding, imputation, gradient boosting of 300 trees',
}
/** What is asked of each: the default ε, and the one that it is meant to keep. */
const questions: { teacher: keyof typeof teachers; epsilon?: number }[] = [
  { teacher: 'logistic' },
  { teacher: 'boosted' },
  { teacher: 'boosted', epsilon: 0.03 },
]

interface Found {
  teacher: keyof typeof teachers
  outcome: string
  seconds: number
  compression: GateCompression
}

const folder = await mkdtemp(join(tmpdir(), 'tenure-distil-'))
try {
  await cp(fileURLToPath(new URL('teachers', import.meta.url)), join(folder, 'teachers'), { recursive: true })
  for (const teacher of Object.keys(teachers)) await writeModel(teacher)
  const system = await startHalfYearSystem(folder)
  try {
    const versions: Partial<Record<keyof typeof teachers, string>> = {}
    const found: Found[] = []
    for (const { teacher, epsilon } of questions) {
      const model = `flights-${teacher}`
      const post = (body: object) =>
        system.operator.post<{ id: string }>(`/v1/models/${model}/retrainings`, { as_of: asOf, ...body })
      versions[teacher] ??= await taught(system, (await post({ reason: 'a teacher' })).id)
      const version = versions[teacher]
      const began = performance.now()
      const { id } = await post({ compress: { version, to: 'distil', epsilon, times: 20 } })
      const { outcome } = await endOf(system, id)
      const seconds = (performance.now() - began) / 1_000
      const evaluation = `evl_${id.split('/').at(-1)!.replaceAll('-', '')}`
      const { report } = await getEvaluation(system.store, evaluation)
      found.push({ teacher, outcome: outcome!, seconds, compression: report.compression! })
      console.log(JSON.stringify({ ...found.at(-1), compression: undefined }), compressionLine(found.at(-1)!))
    }
    await writeFile(options.out, page(found))
  } finally {
    await system.stop()
  }
} finally {
  await rm(folder, { recursive: true })
}

/** The model of flights with a teacher in place of its training function. */
async function writeModel(teacher: string): Promise<void> {
  const text = await readFile(join(modelsDirectory, 'flight-delay.ts'), 'utf8')
  const edits: [from: string | RegExp, to: string][] = [
    ["from './define.ts'", `from '${modelsDirectory}define.ts'`],
    ["from './data/airports.ts'", `from '${modelsDirectory}data/airports.ts'`],
    ['  percent,\n', '  percent,\n  python,\n'],
    ["name: 'flight-delay'", `name: 'flights-${teacher}'`],
    [/hyperparameters: \{[^]*\n {2}\},\n {2}evaluation: \{/, training(teacher)],
    [
      "primary: 'auc',",
      "primary: 'auc', calibration: 'off', importance: 'off', margins: { accuracy: 0.03 },",
    ],
  ]
  let edited = text
  for (const [from, to] of edits) {
    const before = edited
    edited = edited.replace(from, () => to)
    if (edited === before) throw new Error(`models/flight-delay.ts has no longer ${String(from)}`)
  }
  await writeFile(join(folder, `flights-${teacher}.ts`), edited)
}

function training(teacher: string): string {
  return `hyperparameters: { teacher: '${teacher}' },
  train: python('teachers/teach.py', { requirements: 'teachers/requirements.txt' }),
  evaluation: {`
}

async function taught(system: HalfYearSystem, id: string): Promise<string> {
  const { version, outcome, message } = await endOf(system, id)
  if (version === undefined) throw new Error(`${id}: ${outcome}: ${message}`)
  return version
}

/** Waits for the end of a retraining. */
async function endOf(
  { store }: HalfYearSystem,
  id: string,
): Promise<{ version?: string | undefined; outcome?: string | undefined; message?: string | undefined }> {
  const deadlineMs = Date.now() + 1_800_000
  for (;;) {
    const found = (await listRetrainings(store, { limit: 10 })).find((each) => each.id === id)
    if (found?.outcome === 'failed') throw new Error(`${id}: ${found.message}`)
    if (found?.outcome !== undefined) return found
    if (Date.now() > deadlineMs) throw new Error(`${id} has not ended after 30 minutes`)
    await pause(500)
  }
}

function compressionLine({ compression }: Found): string {
  const { against, unproven, passed } = compressionFindings(compression)
  return [...against, ...unproven, ...passed].map(({ message }) => message).join('; ')
}

function page(found: readonly Found[]): string {
  const verdicts = { equal: 'equal', not_equal: '**not equal**', insufficient: '**not proven equal**' }
  return [
    '# A small network in place of a pipeline of scikit-learn',
    '',
    `Made by \`npm run bench -- distil\` on ${machine}, load average ${loadavg()[0]!.toFixed(1)} at the end.`,
    '',
    `Each teacher is trained on ${groupedDigits(found[0]!.compression.taughtRows!)} flights as an object of Python, judged and registered. Then \`tenure compress … --to distil --times 20\` has it answer`,
    'these flights, a network learns the answers, and the gate compares both on 25,000 later flights, of which neither has seen one. The models declare a margin of accuracy of 3 %, which is the limit',
    'of other decisions. Both are measured in one process in turns, a row at a time, from its features to its response. Other work slows',
    'a Python process more than a network, so a busy machine shows larger ratios.',
    '',
    ...figureTable(
      'teacher | ε | mean \\|Δ\\| | largest | other decisions | verdict | rows a second | p99 of a row | worth',
      found.map(({ teacher, compression: { fidelity, worth, cost } }) => [
        teachers[teacher],
        `${100 * fidelity.policy.epsilon} %`,
        fourDigits(fidelity.meanDifference),
        fourDigits(fidelity.maxDifference),
        `${(100 * fidelity.flipShare!).toFixed(2)} %`,
        verdicts[fidelity.verdict],
        `${groupedDigits(Math.round(cost.rowsPerSecond.parent))} → ${groupedDigits(Math.round(cost.rowsPerSecond.child))} (${groupedDigits(Math.round(worth.times.rowsPerSecond))} ×)`,
        `${(cost.p99Us.parent / 1_000).toFixed(1)} ms → ${cost.p99Us.child.toFixed(1)} µs`,
        worth.verdict === 'worth_it' ? 'worth it' : '**not worth it**',
      ]),
    ),
    '',
    ...found.flatMap((each) => [
      `\`${each.outcome}\` after ${Math.round(each.seconds)} s, ${teachers[each.teacher]}: ${compressionLine(each)}.`,
      '',
    ]),
  ].join('\n')
}
