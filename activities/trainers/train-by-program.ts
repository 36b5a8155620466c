/**
 * Trains a model with the program that its model file names, up to the checked result folder. Only its checkpoints decide where an
 * attempt resumes, because progress reports may be older.
 */
import { basename, dirname, join } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import type { TrainingUsage } from '../../domain/model/cost.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { parseProgressLine, type TrainingProgress } from '../../domain/training/progress-line.ts'
import { jobOfDefinition, type ProgramJob } from '../../domain/training/program-job.ts'
import { traceparentVariable } from '../../domain/tracing/trace-context.ts'
import type { ProgramLimits, Trainer } from '../../domain/training/trainer.ts'
import { readCode } from '../../models/define/code-digest.ts'
import { fileOfModel } from '../../models/index.ts'
import { digestWithFiles, filesOfPrograms, type ProgramFiles } from '../../models/define/program-files.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import type { TrainingRecord, TrainingResult } from '../../store/training/trainings.ts'
import { beginProcess } from '../telemetry/processes.ts'
import type { Deps } from '../deps.ts'
import { openAttempt, type AttemptFolder } from './attempt-folder.ts'
import { prepareProgram } from './program.ts'
import { programEnvironment } from '../../temporal.config.ts'
import { runTrainingProgram } from './program.ts'
import { storeResult } from './store-result.ts'

export interface ProgramTraining {
  definition: ModelDefinition
  trainer: Exclude<Trainer, { kind: 'queue' }>
  training: TrainingRecord
  /** In a refit, the rounds of the judged model. */
  bestRound: number | undefined
  /** The folder of the model file. */
  models: string
  signal: AbortSignal
  /** Receives the newest progress, at most a few times a second. An exception ends the program and is rethrown. */
  onProgress: (progress: TrainingProgress) => Promise<void>
  /** Receives what is installed for the program; undefined when everything is. */
  onInstall: (step: string | undefined) => void
}

const defaultLimitMs = 86_400_000
const defaultSilenceMs = 1_800_000

/** Throws the errors of `runTrainingProgram` and `storeResult`, and `environment_failed`. */
export async function trainByProgram(
  { artifacts, config, log }: Pick<Deps, 'artifacts' | 'config' | 'log'>,
  { definition, trainer, training, bestRound, models, signal, onProgress, onInstall }: ProgramTraining,
): Promise<TrainingResult> {
  const { name: model } = definition
  const { id, attempts: attempt } = training
  const code = await codeOf(models, definition)
  const codeDigest = code.digest
  const {
    argv,
    digest: dependenciesDigest,
    packages,
  } = await prepareProgram({ config, log }, trainer, {
    models,
    about: { training: id, model },
    signal,
    onInstall,
  })
  const path = await artifacts.locate('snapshots', training.snapshotDigest)
  const { seed, snapshotDigest, hyperparameters } = training
  const columns = definition.featureOrder
  const of = digestOfJson({
    codeDigest,
    dependenciesDigest,
    snapshotDigest,
    seed,
    hyperparameters,
    columns,
  })
  const folder = await openAttempt(config.artifactRoot, { trainingId: id, attempt, of })
  const limits = { memoryMb: trainer.memoryMb ?? config.trainingMemoryMb, limitMs: trainer.limitMs }
  const badLines: string[] = []
  const progress = newest(onProgress)
  const stopping = AbortSignal.any([signal, progress.failed])
  const script = trainer.kind === 'python' ? join(models, trainer.file) : undefined
  const span = beginProcess(
    trainer.kind === 'python' ? trainer.file : basename(trainer.command[0] ?? 'command'),
  )
  let usage: TrainingUsage | undefined
  try {
    usage = await runTrainingProgram({
      argv,
      cwd: script === undefined ? models : dirname(script),
      env: programEnvironment({
        TMPDIR: folder.scratch,
        PYTHONHASHSEED: String(seed % 4_294_967_296),
        [traceparentVariable]: span?.traceparent,
      }),
      input: `${JSON.stringify({ ...jobOf(definition, training, { path, folder, limits, bestRound, models }), traceparent: span?.traceparent })}\n`,
      signal: stopping,
      silentMs: trainer.silenceMs ?? defaultSilenceMs,
      limitMs: limits.limitMs ?? defaultLimitMs,
      limitMb: limits.memoryMb,
      onLine(line) {
        const parsed = parseProgressLine(line)
        if ('issue' in parsed) badLines.push(parsed.issue)
        else if ('part' in parsed) span?.part(parsed.part)
        else progress.push(parsed)
        if (badLines.length > maxBadLines) badLines.length = maxBadLines
      },
      onStart: (pid) => log.debug({ training: id, pid }, 'training program started'),
    })
    await progress.flush()
    span?.end()
  } catch (error) {
    span?.end(error)
    throw progress.error() ?? error
  } finally {
    if (badLines.length > 0) log.warn({ training: id, model, lines: badLines }, 'output that is not progress')
  }
  const now = await codeOf(models, definition)
  if (now.digest !== codeDigest) throw new DomainError('training_failed', changedText(model, code, now))
  const facts = { codeDigest, dependenciesDigest, packages, seed, snapshotDigest, hyperparameters, bestRound }
  const result = await storeResult(
    { artifactRoot: config.artifactRoot, definition, output: folder.output, ...facts },
    signal,
    { config, log },
  ).catch((error: Error) => Promise.reject(withBadLines(error, badLines)))
  return { ...result, ...(usage && { usage }) }
}

const maxBadLines = 5

const withBadLines = (error: Error, lines: readonly string[]): Error =>
  lines.length === 0
    ? error
    : Object.assign(error, {
        message: `${error.message}; its output has lines that are not progress: ${lines.join('; ')}`,
      })

interface Code {
  digest: string
  files: ProgramFiles
}

/** Digests the model file and its programs with their files. */
async function codeOf(models: string, definition: ModelDefinition): Promise<Code> {
  const file = (await fileOfModel(definition.name, models)) ?? `${definition.name}.ts`
  const { digest } = await readCode(join(models, file))
  const files = (await filesOfPrograms(models, definition)) ?? []
  return { digest: digestWithFiles(digest, files), files }
}

const maxChanged = 5

/** A library may write files beside the script, such as logs; the next training would then fail in the same way. */
function changedText(model: string, before: Code, now: Code): string {
  const [known, present] = [new Map(before.files), new Map(now.files)]
  const changed = [
    ...now.files.filter(([path, digest]) => known.get(path) !== digest),
    ...before.files.filter(([path]) => !present.has(path)),
  ].map(([path]) => (known.has(path) ? (present.has(path) ? path : `${path} (deleted)`) : `${path} (new)`))
  const listed = changed.slice(0, maxChanged).join(', ') || `the file of ${model} or a file that it imports`
  const more = changed.length > maxChanged ? ` and ${changed.length - maxChanged} more` : ''
  return `files of the training program changed while it ran: ${listed}${more}. If the program wrote them, delete them and let it write into "output" of its job or a temporary folder; if they were edited, retrain ${model}`
}

function jobOf(
  definition: ModelDefinition,
  { id, attempts, snapshotDigest, seed, hyperparameters }: TrainingRecord,
  {
    path,
    folder,
    limits,
    bestRound,
    models,
  }: { path: string; folder: AttemptFolder; limits: ProgramLimits } & Pick<
    ProgramTraining,
    'bestRound' | 'models'
  >,
): ProgramJob {
  const { memoryMb, limitMs } = limits
  return {
    ...jobOfDefinition(definition, hyperparameters, bestRound),
    training: id,
    attempt: attempts,
    snapshot: { path, digest: snapshotDigest },
    serve: definition.serve && join(models, definition.serve),
    seed,
    checkpoints: folder.checkpoints,
    output: folder.output,
    limits: { memoryMb: memoryMb ?? null, seconds: limitMs === undefined ? null : limitMs / 1_000 },
  }
}

const everyMs = 250

/**
 * Writes the newest progress, one write at a time and at most every `everyMs`, because a program may report a thousand epochs a second.
 */
function newest(write: (progress: TrainingProgress) => Promise<void>) {
  const failing = new AbortController()
  let waiting: TrainingProgress | undefined
  let writing: Promise<void> | undefined
  let failure: unknown
  const writeAll = async (): Promise<void> => {
    while (waiting !== undefined && failure === undefined) {
      const progress = waiting
      waiting = undefined
      await write(progress).catch((error: unknown) => {
        failure = error
        failing.abort()
      })
      await new Promise((resolve) => setTimeout(resolve, everyMs))
    }
    writing = undefined
  }
  return {
    failed: failing.signal,
    error: () => failure,
    push(progress: TrainingProgress) {
      waiting = progress
      writing ??= writeAll()
    },
    /** Resolves when the last write is done. Throws the error of a write. */
    async flush() {
      await writing
      if (failure !== undefined) throw failure as Error
    },
  }
}
