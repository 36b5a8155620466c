/**
 * Runs the program that writes the rows of a source, by the contract of training programs: a job as JSON on standard input, its Parquet
 * files in the folder `output`, and the exit code.
 */
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DomainError, isError } from '../../domain/errors.ts'
import { listForeignFolder } from '../../store/foreign/foreign-folder.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { contractVersion, type SourceJob } from '../../domain/training/program-job.ts'
import { environmentWith } from '../../temporal.config.ts'
import type { Deps } from '../deps.ts'
import { prepareProgram } from './program.ts'
import { programEnvironment } from '../../temporal.config.ts'
import { runTrainingProgram } from './program.ts'

const defaultLimitMs = 86_400_000
const defaultSilenceMs = 1_800_000
const outputLimits = { maxFiles: 10_000, maxBytes: Infinity, maxDepth: 1 }

interface SourceRun {
  definition: Pick<ModelDefinition, 'name' | 'source'>
  /** The program gets `folder/output` and `folder/tmp`. */
  folder: string
  /** ISO 8601: the moment of the snapshot. */
  asOf: string
  /** Aborting kills the program. */
  signal: AbortSignal
  /** The folder of the model file. */
  models: string
  /** Receives what is installed for the program; undefined when everything is. */
  onInstall?: (step: string | undefined) => void
}

/** What wrote the rows of a snapshot, for its lineage. */
export interface SourceProgramFacts {
  command: string[]
  dependencies: string
  packages: Record<string, string>
}

/**
 * Fills `folder/output` with Parquet files of the rows known at `asOf`. Throws `source_unreadable` for a program that fails alike each time
 * or leaves something other than Parquet files, and `environment_failed`, `out_of_memory` and `training_interrupted`.
 */
export async function runSourceProgram(
  { config, log }: Pick<Deps, 'config' | 'log'>,
  { definition: { name: model, source }, asOf, folder, signal, models, onInstall }: SourceRun,
): Promise<SourceProgramFacts> {
  const program = source.program!
  const shown = program.kind === 'python' ? program.file : program.command.join(' ')
  const missing = program.secrets.filter((name) => !environmentWith({})[name])
  if (missing.length > 0)
    throw new DomainError(
      'source_unreadable',
      `${shown} needs ${missing.join(', ')}, which the worker does not have: set ${missing.length === 1 ? 'this variable' : 'these variables'} for the worker that takes snapshots`,
    )
  const installing = { about: { model }, signal, onInstall }
  const { argv, digest, packages } = await prepareProgram({ config, log }, program, { models, ...installing })
  const output = join(folder, 'output')
  const scratch = join(folder, 'tmp')
  for (const path of [output, scratch]) await mkdir(path, { recursive: true, mode: 0o700 })
  const limits = { memoryMb: program.memoryMb ?? config.trainingMemoryMb, limitMs: program.limitMs }
  const job: SourceJob = {
    contract: contractVersion,
    kind: 'source',
    model,
    asOf,
    output,
    limits: {
      memoryMb: limits.memoryMb ?? null,
      seconds: limits.limitMs === undefined ? null : limits.limitMs / 1_000,
    },
  }
  try {
    await runTrainingProgram({
      argv,
      cwd: program.kind === 'python' ? dirname(join(models, program.file)) : models,
      env: programEnvironment({
        TMPDIR: scratch,
        ...Object.fromEntries(program.secrets.map((name) => [name, environmentWith({})[name]])),
      }),
      input: `${JSON.stringify(job)}\n`,
      signal,
      silentMs: program.silenceMs ?? defaultSilenceMs,
      limitMs: limits.limitMs ?? defaultLimitMs,
      limitMb: limits.memoryMb,
      onLine: (line) => log.info({ model, line }, 'output of the program of the source'),
    })
  } catch (error) {
    if (isError(error) && error.code === 'training_failed')
      throw new DomainError('source_unreadable', error.message)
    throw error
  }
  await requireParquet(output, shown)
  return {
    command: program.kind === 'python' ? [program.file] : program.command,
    dependencies: digest,
    packages,
  }
}

/** Throws `source_unreadable` for a folder with no file, or with anything but plain files that end in `.parquet`. */
export async function requireParquet(output: string, program: string): Promise<void> {
  const refuse = (what: string): never => {
    throw new DomainError(
      'source_unreadable',
      `the folder "output" of the job of ${program} ${what}: write the rows as .parquet files there and nothing else`,
    )
  }
  const files = await listForeignFolder(output, { limits: outputLimits, refuse })
  if (files.length === 0) refuse('has no file')
  const other = files.find(({ name }) => !name.endsWith('.parquet'))
  if (other !== undefined) refuse(`has ${JSON.stringify(other.name)}`)
}
