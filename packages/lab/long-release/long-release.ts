/**
 * Watches releases in their canary until the histories of their workflow have 50,000 events together, lets one be promoted and one fail, and
 * compares both with releases that end at once; writes packages/lab/long-release/long-release.md. `npm run bench -- long-release [--events 50000] [--only rolled_back] [--out FILE]`
 */
import { writeFileSync } from 'node:fs'
import { insertKey } from '../../../store/access/api-keys.ts'
import { verifyAudit } from '../../../store/audit/audit-log.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { findOpenRelease, findRelease } from '../../../store/release/releases.ts'
import { writeFaults } from '../../../store/serving/replicas.ts'
import { insertModel } from '../../../test/support/release/candidates.ts'
import { issuesOfInvariants } from '../../../test/support/release/ending.ts'
import { bundleForReplay, fetchRuns, replay } from '../../../test/support/release/histories.ts'
import { quietRuntime } from '../../../test/support/servers/silence-temporal.ts'
import { startRealSystem } from '../../../test/support/servers/system-fixture.ts'
import { basisSignal } from '../../../workflows/messages.ts'
import { lostRequests, startAsker } from '../../../test/support/fleet/callers.ts'
import { sayTo, untilHolds } from '../../../test/support/fleet/fleet-stage.ts'
import {
  figureTable,
  machine,
  quantileOf,
  roundedNumber as whole,
  sumBy,
} from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { watchedCanary } from '../harness/watched-canary.ts'

// The replay of histories logs each state of its worker.
quietRuntime()
const options = readOptions({ events: 50_000, only: '', out: reportFile('long-release/long-release.md') })
const model = 'pulse'
const hourMs = 3_600_000
/** More requests to a candidate than its calm callers send while it is watched; the busy ones send them in seconds. */
const minRequests = 4_000
/** Signals between a pause and the next one, and how many are sent at a time. */
const signals = 1_000
const senders = 8

type Ending = 'promoted' | 'rolled_back'

interface LongRelease {
  ending: Ending
  reason: string
  /** The events of each run, first to last. */
  runs: number[]
  /** The size of the largest history. */
  maxBytes: number
  /** The durations of pauses and resumes, from the request to the answer. */
  commandsMs: number[]
  /** From the fault of the candidate, or from the arrival of the busy callers, to the end of the release. */
  endedMs: number
  /** The longest replay of the longest and of the last run. */
  replayMs: number
  answered: number
  failed: number
  issues: string[]
}

const system = await startRealSystem({ replicas: 2, leaseMs: 5_000 })
const { store, client, config, urls, sharedUrl } = system
try {
  const policy = watchedCanary({ canarySeconds: 4, minRequests: 100, deadlineMs: 48 * hourMs })
  const [first, ...later] = policy.stages
  const { register } = await insertModel(store, {
    model,
    policy: { ...policy, stages: [{ ...first!, minRequests }, ...later] },
    artifactRoot: config.artifactRoot,
  })
  const operator = sayTo(sharedUrl, (await insertKey(store, { name: 'olga', role: 'operator' })).key)
  const approver = sayTo(sharedUrl, (await insertKey(store, { name: 'anna', role: 'approver' })).key)
  const begin = async () => {
    const version = await register((await findChampion(store, model))?.version)
    await operator('POST', '/v1/releases', { model, version })
    const open = await untilHolds(
      () => findOpenRelease(store, model),
      (found) => found?.state.stage === 'awaiting_approval',
      { what: `${version} awaits its approval` },
    )
    await approver('POST', `/v1/releases/${open!.state.id}/approve`, {})
    return { version, id: open!.state.id, workflowId: open!.workflowId, runId: open!.runId }
  }
  type Begun = Awaited<ReturnType<typeof begin>>
  const end = async ({ id, version }: Begun) =>
    (await untilHolds(
      () => findRelease(store, id),
      (found) => found?.endedAt !== undefined,
      { what: `${version} has ended`, withinMs: 600_000 },
    ))!

  const eventsOf = async ({ workflowId }: Begun): Promise<number> => {
    const { historyLength } = await client.workflow.getHandle(workflowId).describe()
    const lengths = [historyLength]
    const query = `WorkflowId = '${workflowId}' and ExecutionStatus = 'ContinuedAsNew'`
    for await (const closed of client.workflow.list({ query })) lengths.push(closed.historyLength)
    return sumBy(lengths, (length) => length)
  }
  /** Gives a command to the release. Returns the duration in milliseconds. */
  const command = async (say: typeof operator, { id }: Begun, name: 'pause' | 'resume'): Promise<number> => {
    const fromMs = performance.now()
    const path = `/v1/releases/${id}/${name}`
    const answer = await say<{ accepted?: boolean }>('POST', path, { reason: 'measured' })
    if (answer.accepted !== true) throw new Error(`${name}: ${JSON.stringify(answer)}`)
    return performance.now() - fromMs
  }
  /** Sends signals that find nothing new, with a pause and a resume between them. Returns the durations of these. */
  const lengthen = async (begun: Begun, events: number): Promise<number[]> => {
    const handle = client.workflow.getHandle(begun.workflowId)
    const before = await eventsOf(begun)
    const commandsMs: number[] = []
    for (let sum = 0; sum < events; sum = (await eventsOf(begun)) - before) {
      console.log(`${begun.version}: ${whole(sum)} events`)
      const send = async () => {
        for (let sent = 0; sent < signals / senders; sent++) await handle.signal(basisSignal)
      }
      await Promise.all(Array.from({ length: senders }, send))
      commandsMs.push(await command(operator, begun, 'pause'), await command(approver, begun, 'resume'))
    }
    return commandsMs
  }

  const run = async (ending: Ending, events: number): Promise<LongRelease> => {
    const begun = await begin()
    const { id, version, workflowId, runId } = begun
    const ask = (each: number, pauseMs: number) =>
      startAsker({ targets: urls, each, model, row: { x: 0, y: 1 }, pauseMs })
    const askers = [ask(1, 200)]
    await untilHolds(
      () => findRelease(store, id),
      (found) => found?.state.stage === 'canary',
      { what: `${version} is in its canary` },
    )
    const commandsMs = await lengthen(begun, events)
    const fromMs = performance.now()
    if (ending === 'rolled_back') await writeFaults(store, { [version]: { invalidShare: 0.5 } })
    else askers.push(ask(4, 2))
    const { state, outcome } = await end(begun)
    const endedMs = performance.now() - fromMs
    await client.workflow.getHandle(workflowId, undefined, { firstExecutionRunId: runId }).result()
    await Promise.all(askers.map((asker) => asker.stop()))
    const issues = await issuesOfInvariants(store, { model, releaseId: id, seated: 0 })
    const { breach } = await verifyAudit(store)
    if (breach !== undefined) issues.push(breach)
    if (outcome !== ending) issues.push(`${version} is ${outcome} and not ${ending}: ${state.reason}`)
    const runs = await fetchRuns(client, workflowId, runId)
    const sizes = await Promise.all(
      runs.map(
        async (each) => (await client.workflow.getHandle(workflowId, each.runId).describe()).historySize,
      ),
    )
    const bundle = await bundleForReplay()
    const replaysMs: number[] = []
    // The longest run and the one that ended the release.
    const longest = runs.reduce((one, other) => (lengthOf(other) > lengthOf(one) ? other : one))
    for (const { runId: name, history } of new Set([longest, runs.at(-1)!])) {
      const startMs = performance.now()
      const [replayed] = await replay(bundle, [{ name, history }])
      replaysMs.push(performance.now() - startMs)
      if (replayed?.problem !== undefined) issues.push(`${name} does not replay: ${replayed.problem}`)
    }
    return {
      ending,
      reason: state.reason ?? '',
      runs: runs.map(lengthOf),
      maxBytes: Math.max(...sizes.map((size) => size ?? 0)),
      commandsMs,
      endedMs,
      replayMs: Math.max(...replaysMs),
      answered: sumBy(askers, ({ answered }) => answered),
      failed: sumBy(askers, (asker) => lostRequests(asker).length),
      issues,
    }
  }

  await end(await begin())
  const found: LongRelease[] = []
  for (const events of [0, options.events])
    for (const ending of (['promoted', 'rolled_back'] as const).filter((each) =>
      each.startsWith(options.only),
    )) {
      found.push(await run(ending, events))
      console.log(JSON.stringify(found.at(-1)))
    }
  writeFileSync(options.out, page(found))
  if (found.some(({ issues }) => issues.length > 0)) process.exitCode = 1
} catch (error) {
  process.stderr.write(`${system.lines.slice(-40).join('\n')}\n`)
  throw error
} finally {
  await system.stop()
}

/** The number of events. */
function lengthOf({ history }: Awaited<ReturnType<typeof fetchRuns>>[number]): number {
  return history.events?.length ?? 0
}

function page(found: readonly LongRelease[]): string {
  const seconds = (ms: number) => (ms / 1_000).toFixed(1)
  return [
    `# A release watched for ${whole(options.events)} events`,
    '',
    `Made by \`npm run bench -- long-release --events ${options.events}${options.only && ` --only ${options.only}`}\` on ${machine}. The machine was shared with other work.`,
    '',
    'A release is in its first canary stage on a system of two replicas, one control worker, Postgres and Temporal. Signals that find nothing new, and a pause',
    `and a resume after every ${signals} of them, lengthen its history. Then either its candidate begins to answer half of the requests with invalid outputs, or`,
    'busy callers send the requests that its stage still needs. Releases without such signals stand above.',
    '',
    'Temporal suggests a workflow to continue as new after 4,096 events, and ends it at 51,200.',
    '',
    ...figureTable(
      'release | events | runs | longest run | largest history KB | longest replay s | pause or resume, median and longest s | end s | answered | failed by the fault | issues',
      found.map(({ ending, runs, maxBytes, replayMs, commandsMs, endedMs, answered, failed, issues }) => [
        ending.replace('_', ' '),
        whole(sumBy(runs, (length) => length)),
        String(runs.length),
        whole(Math.max(...runs)),
        whole(maxBytes / 1_024),
        seconds(replayMs),
        commandsMs.length === 0
          ? ''
          : [0.5, 1].map((share) => seconds(quantileOf(commandsMs, share))).join(', '),
        seconds(endedMs),
        whole(answered),
        String(failed),
        issues.join('; ') || 'none',
      ]),
    ),
    '',
    '*end* is the time from the fault, or from the arrival of the busy callers, to the end of the release. The longest and the last run replay on this build.',
    '',
    ...found.map(({ ending, reason }) => `- ${ending.replace('_', ' ')}: ${reason || 'passed all stages'}`),
    '',
  ].join('\n')
}
