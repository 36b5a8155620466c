/**
 * The recorded histories of whole releases. Workflow code that no longer produces what they hold would stop every
 * release that is under way when it is deployed.
 */
import proto from '@temporalio/proto'
import { bundleWorkflowCode, Worker, type WorkflowBundleWithSourceMap } from '@temporalio/worker'
import type { History } from '@temporalio/common/lib/proto-utils.js'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from '../../temporal.config.ts'

export const historiesDirectory = join(checkout, 'test/histories')

export interface Recorded {
  /** What the history shows, which is the name of its file. */
  name: string
  history: History
}

/** The library's own JSON conversion fails where several copies of its protocol library are installed. */
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

/** Compiles the workflows of a directory that looks like the checkout. */
export function bundle(root = checkout): Promise<WorkflowBundleWithSourceMap> {
  return bundleWorkflowCode({ workflowsPath: join(root, 'workflows/index.ts'), logger: silent })
}

export interface Replayed {
  name: string
  /** Why the history cannot be replayed by the code; undefined when it can. */
  problem?: string
}

export async function replay(
  workflowBundle: WorkflowBundleWithSourceMap,
  recorded: readonly Recorded[],
): Promise<Replayed[]> {
  const results = Worker.runReplayHistories(
    { workflowBundle },
    recorded.map(({ name, history }) => ({ workflowId: name, history })),
  )
  const replayed: Replayed[] = []
  for await (const { workflowId, error } of results)
    replayed.push({ name: workflowId, ...(error === undefined ? {} : { problem: error.message }) })
  return replayed.sort((a, b) => (a.name < b.name ? -1 : 1))
}
