/**
 * Records and replays the histories of whole releases. Workflow code that cannot reproduce them would block every running release on
 * deployment.
 */
import proto from '@temporalio/proto'
import type { Client } from '@temporalio/client'
import { Worker, type WorkflowBundle } from '@temporalio/worker'
import type { History } from '@temporalio/common/lib/proto-utils.js'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { workflowCode } from '../../../cli/build/workflows.mjs'
import { checkout } from '../../../temporal.config.ts'

export const historiesDirectory = join(checkout, 'test/histories')

export interface CodeChange {
  file: string
  /** Text of the file → its replacement. */
  changes: readonly (readonly [from: string, to: string])[]
}

export interface PlantedChange extends CodeChange {
  name: string
  /** The histories that no longer replay; all others still do. */
  breaks: readonly string[]
}

export interface Recorded {
  /** The scenario that the history shows; also the name of its file. */
  name: string
  history: History
}

/** The library's own JSON conversion fails when several copies of its protocol library are installed. */
const Histories = proto.temporal.api.history.v1.History

export function readHistories(directory = historiesDirectory): Recorded[] {
  return readdirSync(directory)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .map((file) => ({
      name: file.slice(0, -'.json'.length),
      history: Histories.fromObject(JSON.parse(readFileSync(join(directory, file), 'utf8')) as object),
    }))
}

/** Writes a history as JSON, without the name of the machine that made it. */
export function writeHistory(name: string, history: History, directory = historiesDirectory): void {
  const plain = Histories.toObject(Histories.fromObject(history), {
    longs: String,
    enums: String,
    bytes: String,
  })
  const text = JSON.stringify(plain, (key, value: unknown) => (key === 'identity' ? 'recorder' : value), 1)
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, `${name}.json`), `${text}\n`)
}

const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }

export const bundleForReplay = async (traced = false): Promise<WorkflowBundle> => ({
  code: await workflowCode(checkout, { logger: silent, traced }),
})

export interface Replayed {
  name: string
  /** Why the code cannot replay the history; undefined when it can. */
  problem?: string
}

/** Fetches the histories of a workflow's runs, beginning with the first run. */
export async function fetchRuns(
  client: Client,
  workflowId: string,
  firstRunId: string,
): Promise<{ runId: string; history: History }[]> {
  const runs: { runId: string; history: History }[] = []
  for (let runId = firstRunId; runId !== '';) {
    const history = await client.workflow.getHandle(workflowId, runId).fetchHistory()
    runs.push({ runId, history })
    runId = history.events?.at(-1)?.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId ?? ''
  }
  return runs
}

/** Reads the ids from the first event. Two runs of one workflow have the same workflow id. */
function startOf({ events }: History): { workflowId: string; runId: string } {
  const { workflowId, originalExecutionRunId } = events?.[0]?.workflowExecutionStartedEventAttributes ?? {}
  if (!workflowId || !originalExecutionRunId) throw new Error('a history does not say whose it is')
  return { workflowId, runId: originalExecutionRunId }
}

export async function replay(
  workflowBundle: WorkflowBundle,
  recorded: readonly Recorded[],
): Promise<Replayed[]> {
  const named = new Map(recorded.map(({ name, history }) => [startOf(history).runId, name]))
  const results = Worker.runReplayHistories(
    { workflowBundle },
    recorded.map(({ history }) => ({ workflowId: startOf(history).workflowId, history })),
  )
  const replayed: Replayed[] = []
  for await (const { runId, error } of results)
    replayed.push({ name: named.get(runId)!, problem: error === undefined ? undefined : error.message })
  return replayed.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Inside the checkout, so that a run reuses what an earlier run has compiled; compiling takes seconds of CPU. */
const plantedDirectory = join(checkout, 'node_modules', '.cache', 'planted-workflows')

/** Replays histories on a copy of the workflows with a change applied. */
export const replayWith = async (change: CodeChange, recorded: readonly Recorded[]): Promise<Replayed[]> =>
  replay({ code: await changedCode(change) }, recorded)

/** Compiles a copy of the workflows with a change applied. Each replaced text must occur exactly once in its file. */
export async function changedCode(change: CodeChange, interceptors: string[] = []): Promise<string> {
  const digest = (...texts: string[]) => createHash('sha256').update(texts.join('\n')).digest('hex')
  const intercepting = interceptors.map((file) => readFileSync(file, 'utf8'))
  const unchanged = digest(await workflowCode(checkout, { logger: silent }))
  const name = `${unchanged}-${digest(change.file, JSON.stringify(change.changes), ...intercepting)}.js`
  const path = join(plantedDirectory, name)
  if (!existsSync(path)) {
    const code = await compileWith(change, interceptors)
    mkdirSync(plantedDirectory, { recursive: true })
    for (const old of readdirSync(plantedDirectory))
      if (!old.startsWith(unchanged)) rmSync(join(plantedDirectory, old), { force: true })
    writeFileSync(`${path}.${process.pid}`, code)
    renameSync(`${path}.${process.pid}`, path)
  }
  return readFileSync(path, 'utf8')
}

async function compileWith({ file, changes }: CodeChange, interceptors: string[]): Promise<string> {
  const root = mkdtempSync(join(tmpdir(), 'tenure-planted-'))
  try {
    for (const layer of ['workflows', 'domain'])
      cpSync(join(checkout, layer), join(root, layer), { recursive: true })
    mkdirSync(join(root, 'activities'))
    symlinkSync(join(checkout, 'node_modules'), join(root, 'node_modules'))
    let text = readFileSync(join(root, file), 'utf8')
    for (const [from] of changes)
      if (text.split(from).length !== 2)
        throw new Error(`${file} holds ${text.split(from).length - 1} times: ${from}`)
    // Replaces in two passes, so that one replacement cannot match the search text of another.
    for (const [i, [from]] of changes.entries()) text = text.replace(from, () => `/* ${i} */`)
    for (const [i, [, to]] of changes.entries()) text = text.replace(`/* ${i} */`, () => to)
    writeFileSync(join(root, file), text)
    return await workflowCode(root, { logger: silent, interceptors })
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}
