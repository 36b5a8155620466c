/**
 * Computes the metrics of a model file within their limits: a function in TypeScript in this process, and those in Python once in a child
 * process, in the environment of the training program, on the same rows and resamples.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createContext, runInContext } from 'node:vm'
import { DomainError } from '../../domain/errors.ts'
import { limitText } from '../../domain/figures.ts'
import {
  computeMetric,
  drawResamples,
  metricAnswers,
  referencesOf,
  type ComputedMetric,
  type Measured,
  type MetricAnswer,
  type MetricFunction,
  type Reference,
} from '../../domain/evaluation/custom-metrics.ts'
import type { MetricInput } from '../../domain/evaluation/gate.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { ColumnTable } from '../../domain/model/columns.ts'
import { parseJson } from '../../domain/parse-json.ts'
import { contractVersion, type MetricsJob } from '../../domain/training/program-job.ts'
import type { ProgramLimits } from '../../domain/training/trainer.ts'
import { programOfMetrics } from '../../models/define/program-files.ts'
import type { Deps } from '../deps.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { prepareProgram } from '../trainers/program.ts'
import { programEnvironment } from '../../temporal.config.ts'
import { runTrainingProgram } from '../trainers/program.ts'

const defaultLimitMs = 86_400_000
const defaultSilenceMs = 1_800_000

/** The command that computes the metrics of a model file in Python. */
export interface MetricProgram extends ProgramLimits {
  argv: string[]
}

/** Makes the environment of the metrics; undefined for a model without metrics in Python. Throws `environment_failed`. */
export async function prepareMetrics(
  { config, log }: Pick<Deps, 'config'> & Partial<Pick<Deps, 'log'>>,
  definition: ModelDefinition,
  { models, signal }: { models: string; signal: AbortSignal },
): Promise<MetricProgram | undefined> {
  const program = await programOfMetrics(models, definition)
  if (program === undefined) return undefined
  const about = { model: definition.name }
  const { argv } = await prepareProgram({ config, log }, program, { models, about, signal })
  const { memoryMb = config.trainingMemoryMb, limitMs, silenceMs } = program
  return { argv, memoryMb, limitMs, silenceMs }
}

/** What an evaluator is kept for. One with metric functions is not: it has read the model file once, and the file may change. */
export const keptForOf = (definition: ModelDefinition): string | undefined =>
  definition.evaluation.policy.custom === undefined ? digestOfJson(definition) : undefined

/** Less than the process may be silent: of all rows together, and more for each. */
const [computeMs, computeMsPerRow] = [100_000, 0.06]

/** Calls the function of a metric on all rows and resamples. One that takes too long has that fault. */
export function computeWithin(
  of: MetricFunction,
  name: string,
  {
    rows,
    policy,
    limitMs = computeMs + Math.round(computeMsPerRow * rows.y.length),
  }: MetricInput & { limitMs?: number },
): ComputedMetric {
  try {
    const context = createContext({ compute: () => computeMetric(of, name, { rows, policy }) })
    return runInContext('compute()', context, { timeout: limitMs }) as ComputedMetric
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error
    const fault = { value: null, fault: `took longer than ${limitText(limitMs)} with its resamples` }
    return { challenger: fault, champion: fault, baseline: fault, anchor: null, gains: {} }
  }
}

interface MetricsRun extends MetricInput {
  model: string
  /** The folder of the model file. */
  models: string
  /** The columns of the same rows. */
  table: ColumnTable
}

/**
 * Computes the metrics of a file in Python. Throws the errors of `runTrainingProgram`, which end with the metric that was computed. An
 * exception of a metric is a fault in its value. `folder` is made here, and removed by the caller.
 */
export async function computeMetrics(
  program: MetricProgram,
  { folder, ...run }: MetricsRun & { folder: string },
): Promise<Record<string, ComputedMetric>> {
  const output = join(folder, 'output')
  await mkdir(output, { recursive: true, mode: 0o700 })
  const job = await writeInputs(folder, output, run)
  await runTrainingProgram({
    argv: program.argv,
    cwd: run.models,
    env: programEnvironment({ TMPDIR: folder, PYTHONHASHSEED: '0' }),
    input: `${JSON.stringify(job)}\n`,
    // The process group of the program ends with this process.
    signal: new AbortController().signal,
    silentMs: program.silenceMs ?? defaultSilenceMs,
    limitMs: program.limitMs ?? defaultLimitMs,
    limitMb: program.memoryMb,
    onLine: () => {},
  })
  const text = await readFile(join(output, 'metrics.json'), 'utf8').catch(() => '')
  const found = parseMetrics(text)
  if (found === undefined)
    throw new DomainError('training_failed', `${program.argv.join(' ')} wrote no metrics.json of metrics`)
  return found
}

type Written = { value: number } | { fault: string }

/** Reads the text of `metrics.json`; undefined where it has another form. */
function parseMetrics(text: string): Record<string, ComputedMetric> | undefined {
  const found = parseJson<Record<string, Record<keyof ComputedMetric, unknown>>>(text)
  const entries = Object.entries(found ?? {}).map(
    ([name, { challenger, champion, baseline, anchor, gains }]) => {
      const isWhole =
        isWritten(challenger) &&
        (champion === null || isWritten(champion)) &&
        isWritten(baseline) &&
        (anchor === null || isAnchor(anchor)) &&
        isGains(gains)
      if (!isWhole) return undefined
      const computed: ComputedMetric = {
        challenger: measured(challenger),
        champion: champion === null ? null : measured(champion),
        baseline: measured(baseline),
        anchor: anchor === null ? null : { at: anchor.at, ...measured(anchor) },
        gains: Object.fromEntries(
          Object.entries(gains).map(([who, values]) => [who, Float64Array.from(values)]),
        ),
      }
      return [name, computed] as const
    },
  )
  const whole = entries.filter((each) => each !== undefined)
  return found === undefined || whole.length < entries.length ? undefined : Object.fromEntries(whole)
}

const isWritten = (given: unknown): given is Written =>
  typeof given === 'object' &&
  given !== null &&
  ('value' in given ? typeof given.value === 'number' : 'fault' in given && typeof given.fault === 'string')

const isAnchor = (given: unknown): given is Written & { at: number } =>
  isWritten(given) && 'at' in given && typeof given.at === 'number'

const isGains = (given: unknown): given is Partial<Record<Reference, number[]>> =>
  typeof given === 'object' &&
  given !== null &&
  Object.values(given).every(
    (values) => Array.isArray(values) && values.every((gain) => typeof gain === 'number'),
  )

const measured = (given: Written): Measured =>
  'value' in given ? { value: given.value } : { value: null, fault: given.fault }

async function writeInputs(
  folder: string,
  output: string,
  { model, rows, table, policy }: MetricsRun,
): Promise<MetricsJob> {
  const { challenger, champion, baseline, anchors } = metricAnswers(rows, policy)
  const numbers = async (file: string, values: readonly MetricAnswer[], width: number, isMatrix: boolean) => {
    await writeFile(join(folder, file), Float64Array.from(values.flat()))
    return { file, width, isMatrix }
  }
  const answers = (who: string, values: readonly MetricAnswer[]) =>
    numbers(`${who}.f64`, values, lengthOf(values[0]), typeof values[0] === 'object')
  const width = challenger.length === 0 ? 1 : rows.y.length / challenger.length
  const columns: MetricsJob['columns'] = {}
  for (const [at, [name, column]] of Object.entries(table.columns).entries()) {
    const file = `column-${at}`
    if (column.kind === 'number') {
      const { values, nulls } = column
      await writeFile(
        join(folder, file),
        nulls === undefined ? values : values.map((value, row) => (nulls[row] === 1 ? NaN : value)),
      )
      columns[name] = { kind: 'number', file }
    } else {
      await writeFile(join(folder, file), Uint32Array.from(column.codes))
      columns[name] = { kind: 'text', file, texts: column.texts }
    }
  }
  const metrics = Object.entries(policy.custom ?? {}).map(([name, { better }]) => ({
    name,
    better,
    over: referencesOf(name, policy),
  }))
  const hasDraws = metrics.some(({ over }) => over.some((who) => who !== 'champion' || champion !== null))
  return {
    contract: contractVersion,
    kind: 'metrics',
    model,
    input: folder,
    metrics,
    labels: await numbers('labels.f64', rows.y, width, policy.targets !== undefined),
    answers: {
      challenger: await answers('challenger', challenger),
      champion: champion && (await answers('champion', champion)),
      baseline: await answers('baseline', baseline),
    },
    anchors: await Promise.all(anchors.map((each, at) => answers(`anchor-${at}`, each))),
    columns,
    draws: hasDraws ? writeDraws(folder, { rows, policy }) : null,
    output,
  }
}

const lengthOf = (answer: MetricAnswer | undefined): number =>
  typeof answer === 'object' ? answer.length : 1

/** Writes the resamples that metrics in TypeScript are computed on. */
function writeDraws(folder: string, { rows, policy }: Pick<MetricsRun, 'rows' | 'policy'>): string {
  const file = 'draws'
  const opened = openSync(join(folder, file), 'w')
  try {
    drawResamples(rows, policy, (weights) => {
      writeSync(opened, Uint8Array.from(weights))
    })
  } finally {
    closeSync(opened)
  }
  return file
}
