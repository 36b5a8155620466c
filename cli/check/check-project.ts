/** Checks a project without a server: its settings, model files, policies and types, and a training on a few rows. */
import { execFile, fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isError } from '../../domain/errors.ts'
import { decidableText } from '../../domain/simulation/decidable.ts'
import { modelOfFile, modelsDirectory } from '../../models/index.ts'
import { readChannels } from '../../store/monitoring/alert-channels.ts'
import { alertChannelsFile, project } from '../../project.mjs'
import { projectFolder, launcher, systemEnvironment } from '../../temporal.config.ts'
import { loadModelsInChild } from '../sync/load-models.ts'

export interface CheckedModel {
  name: string
  issues: string[]
  trained: boolean
  /** The number of rows of the training. */
  rows?: number
  /** The number of rows that were read without a training. */
  read?: number
  /** Why no training ran, with what was checked in its place. */
  skipped?: string
  /** Features that may contain the label, as the rows that were read tell. */
  leaks?: string[]
  /** That the margin of the gate is narrower than the expected test rows can show. */
  narrow?: string
  /** Features that follow the week or the day, as the rows that were read tell. */
  cycles?: string[]
  note?: string
  /** From how many requests a day on the release policy can decide. */
  decidable?: string
}

export interface CheckedProject {
  ok: boolean
  project: string
  /** Where model files are looked for. */
  folder: string
  settings: { issues: string[] }
  models: CheckedModel[]
  types: { checked: boolean; issues: string[] }
}

const trainingLimitMs = 120_000
const maxOutputBytes = 4_000_000

export async function checkProject({
  train,
  onModel,
}: {
  train: boolean
  onModel: (model: CheckedModel) => void
}): Promise<CheckedProject> {
  const settings = { issues: [...project.issues, ...(await issuesOfChannels())] }
  const { models: loaded, broken } = await loadModelsInChild()
  const models: CheckedModel[] = []
  const add = (model: CheckedModel): void => {
    models.push(model)
    onModel(model)
  }
  for (const { file, issues } of broken) add({ name: modelOfFile(file), issues, trained: false })
  for (const { name, note, definition } of loaded) {
    const told = { note, decidable: decidableText(definition.release) }
    if (!train) add({ name, issues: [], trained: false, skipped: '--no-training', ...told })
    else {
      const { issue, ...rest } = await trainALittle(name, modelsDirectory, trainingLimitMs)
      add({
        name,
        issues: issue === undefined ? [] : [issue],
        trained: rest.rows !== undefined,
        ...rest,
        ...told,
      })
    }
  }
  const types = await checkTypes()
  const ok =
    models.length > 0 &&
    settings.issues.length + types.issues.length === 0 &&
    models.every(({ issues }) => issues.length === 0)
  return { ok, project: projectFolder, folder: modelsDirectory, settings, models, types }
}

async function issuesOfChannels(): Promise<string[]> {
  try {
    await readChannels(alertChannelsFile())
    return []
  } catch (error) {
    if (isError(error, 'configuration_invalid')) return [error.message]
    throw error
  }
}

/** Checks types with the TypeScript of the project, if it has one. */
async function checkTypes(): Promise<CheckedProject['types']> {
  const compiler = join(projectFolder, 'node_modules', '.bin', 'tsc')
  if (!existsSync(compiler) || !existsSync(join(projectFolder, 'tsconfig.json')))
    return { checked: false, issues: [] }
  try {
    await promisify(execFile)(compiler, ['--noEmit', '--pretty', 'false', '-p', projectFolder], {
      cwd: projectFolder,
      maxBuffer: maxOutputBytes,
    })
    return { checked: true, issues: [] }
  } catch (error) {
    const { stdout = '', message } = error as Error & { stdout?: string }
    const lines = stdout.split('\n').filter((line) => line.trim() !== '')
    return { checked: true, issues: lines.length > 0 ? lines : [message] }
  }
}

// Reads a few rows of a model and trains it on them, in a child process, and reports the result.

export interface TrainedALittle {
  rows?: number
  read?: number
  skipped?: string
  leaks?: string[]
  narrow?: string
  cycles?: string[]
  /** Why the rows cannot be read or the training failed. */
  issue?: string
}

type TrainingMessage =
  | { kind: 'alive' }
  | { kind: 'done'; result: Omit<TrainedALittle, 'issue'> }
  | { kind: 'failed'; message: string }

function trainALittle(model: string, modelsDirectory: string, limitMs: number): Promise<TrainedALittle> {
  const child = fork(launcher, ['activities/check/check-training.ts'], {
    env: systemEnvironment(),
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let last = ''
  child.stderr?.on('data', (text: Buffer) => (last = text.toString().trim().split('\n').at(-1) ?? last))
  return new Promise((resolve, reject) => {
    let reply: TrainedALittle | undefined
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, limitMs)
    child.on('message', (message: TrainingMessage) => {
      if (message.kind === 'alive') return
      reply = message.kind === 'done' ? message.result : { issue: message.message }
      // A child process that has replied stays alive for the next job.
      clearTimeout(timer)
      child.kill('SIGKILL')
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      const ended = late
        ? `it was not trained within ${limitMs / 1_000} s`
        : `the process that trains it ended (${signal ?? `exit code ${code}`})${last === '' ? '' : `: ${last}`}`
      resolve(late ? { issue: ended } : (reply ?? { issue: ended }))
    })
    child.send({ model, modelsDirectory }, (error) => error && child.kill('SIGKILL'))
  })
}
