/**
 * Loads the model files in a child process with a time limit for each. A file with an endless loop or a `process.exit` would otherwise hang
 * or end the command before the other models are loaded.
 */
import { fork } from 'node:child_process'
import { listModelFiles, modelsDirectory, type BrokenModel, type LoadedModel } from '../../models/index.ts'
import type { PrintedModel } from '../../models/define/printed-model.ts'
import { requireSetUp } from '../doctor/set-up.ts'
import { launcher, systemEnvironment } from '../../temporal.config.ts'

/** A model without its functions, which only the training process runs. */
export interface DeclaredModel extends Omit<LoadedModel, 'train' | 'print'> {
  /** What the file defines as data; where it was asked for. */
  printed?: PrintedModel
  /** What only the gate can judge; absent if the monitor can judge it too. */
  note?: string
}

export interface LoadJob {
  directory: string
  files: readonly string[]
  isPrinted: boolean
}

export type LoadMessage =
  | { kind: 'loading'; file: string }
  | { kind: 'loaded'; model: DeclaredModel }
  | { kind: 'broken'; broken: BrokenModel }
  | { kind: 'end' }

const defaultLimitMs = 20_000
const maxHeapMb = 1_024
/** Time limit for starting the process, on a busy machine and with model files that are not compiled yet. */
const startMs = 120_000

/**
 * Loads the models. Never throws because of a file: one that hangs or ends its process is listed as broken, and the others are loaded. Throws
 * where files are broken because the set-up has not installed what they need.
 */
export async function loadModelsInChild({
  directory = modelsDirectory,
  limitMsOf = () => defaultLimitMs,
  only,
  isPrinted = false,
}: {
  directory?: string
  limitMsOf?: (file: string) => number
  only?: string
  isPrinted?: boolean
} = {}): Promise<{
  models: DeclaredModel[]
  broken: BrokenModel[]
}> {
  const models: DeclaredModel[] = []
  const broken: BrokenModel[] = []
  let files = (await listModelFiles(directory)).filter((file) => only === undefined || file === only)
  while (files.length > 0) {
    const { stoppedAt, issue } = await loadSome({ directory, files, isPrinted }, limitMsOf, (message) => {
      if (message.kind === 'loaded') models.push(message.model)
      else if (message.kind === 'broken') broken.push(message.broken)
    })
    if (stoppedAt === undefined) break
    broken.push({ file: stoppedAt, issues: [issue] })
    files = files.slice(files.indexOf(stoppedAt) + 1)
  }
  if (broken.length > 0) await requireSetUp(['node', 'tensorflow', 'addon'])
  return { models, broken }
}

/** Loads until the end, or until a file stops the process. Returns that file and the reason. */
function loadSome(
  job: LoadJob,
  limitMsOf: (file: string) => number,
  onMessage: (message: LoadMessage) => void,
): Promise<{ stoppedAt?: string; issue: string }> {
  const child = fork(launcher, ['cli/sync/load-child.ts'], {
    env: systemEnvironment(),
    execArgv: [`--max-old-space-size=${maxHeapMb}`],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let starved = false
  child.stderr?.on('data', (text: Buffer) => (starved ||= text.includes('out of memory')))
  return new Promise((resolve, reject) => {
    let [first = ''] = job.files
    let ended = false
    let late = false
    const give = () => {
      late = true
      child.kill('SIGKILL')
    }
    let timer = setTimeout(give, startMs)
    child.on('message', (message: LoadMessage) => {
      clearTimeout(timer)
      if (message.kind === 'loading') first = message.file
      timer = setTimeout(give, limitMsOf(first))
      ended ||= message.kind === 'end'
      onMessage(message)
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      const hangs = `it was not loaded within ${limitMsOf(first) / 1_000} s: an endless loop, or an \`await\` that never ends, outside of \`train\``
      const exits = starved
        ? `it used more than ${maxHeapMb} MB of memory while it was loaded: read data with csv(…) or parquet(…)`
        : `it ended the process that loaded it (${signal ?? `exit code ${code}`})`
      resolve({ stoppedAt: ended ? undefined : first, issue: late ? hangs : exits })
    })
    child.send(job, (error) => error && child.kill('SIGKILL'))
  })
}
