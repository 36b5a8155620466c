/** Tests a version under load: repeats the requests of a peak at its rate times a factor, and compares the answers with those of a batch. */
import { Context } from '@temporalio/activity'
import { listRows } from '../../domain/model/columns.ts'
import { computedColumns } from '../../domain/model/prepare.ts'
import type { FeatureRow, Features } from '../../domain/model/features.ts'
import { loadText, type LoadJob, type LoadReport, type LoadResult } from '../../domain/model/load-test.ts'
import { completeMonitorPolicy } from '../../domain/monitoring/policy.ts'
import { DomainError, errorTable, isError } from '../../domain/errors.ts'
import type { LoadTestStart } from '../../domain/starts.ts'
import { findStart } from '../../store/commands.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { listPeakRequests, recordLoadTest } from '../../store/registry/load-tests.ts'
import { getModel } from '../../store/registry/models.ts'
import { getVersion, type Version } from '../../store/registry/versions.ts'
import { verifyArtifact } from '../../store/signing/artifact-signatures.ts'
import { openPublicKeys } from '../../store/signing/signing-key.ts'
import type { LoadTestRequest } from '../../workflows/messages.ts'
import { openPreparer } from '../data/prepared-rows.ts'
import { readPart } from '../data/rows.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat, type Beat } from '../runtime/heartbeat.ts'
import { startScorer } from '../runtime/scoring-child.ts'
import { runServingChild } from '../runtime/serving-child.ts'
import { takeStart } from '../runtime/take-start.ts'

/** Throws `forbidden` for a start that no row asks for. */
export const openLoadTest =
  ({ store, config }: Deps) =>
  async ({ order }: LoadTestRequest): Promise<{ model: string; version: string; trainQueue: string }> => {
    const { model, version } = await takeStart(store, { kind: 'loadTest', order })
    return { model, version, trainQueue: config.taskQueues.train }
  }

/** More than the runs, the search for a lower rate and the start of the process take together. */
const timeoutMs = 90_000
/** Requests and rows that are repeated at most. */
const maxRequests = 1_000
const maxRows = 10_000

/** Stores the result with the version, also that the test could not be run. Throws what a retry may mend. */
export const testLoad =
  (deps: Deps) =>
  ({ order }: LoadTestRequest): Promise<{ message: string }> =>
    withHeartbeat(async (beat) => {
      const { store, log } = deps
      const start = await findStart(store, order)
      if (start?.kind !== 'loadTest' || start.runId !== Context.current().info.workflowExecution!.runId)
        throw new DomainError('forbidden', `no load test was opened for ${order}`)
      const { id, version, ...plan } = start.input as LoadTestStart
      const test = { id, requestedBy: start.actor, at: new Date().toISOString() }
      const result = await run(deps, beat, { version, ...plan }).then(
        (report) => ({ report }),
        (error: unknown) => {
          beat.check()
          if (!isError(error) || errorTable[error.code].retryable) throw error
          return { message: error.message }
        },
      )
      await recordLoadTest(store, version, { ...test, ...result })
      const message = loadText({ ...test, ...result })
      log.info({ loadTest: id, version, ...result }, 'load test ended')
      return { message }
    })

async function run(
  deps: Deps,
  beat: Beat,
  { model, version, rate, seconds, factor, peak }: Omit<LoadTestStart, 'id'>,
): Promise<LoadReport> {
  const { store, artifacts, config } = deps
  const registered = await getVersion(store, version)
  const { artifactDigest, manifest } = registered
  verifyArtifact(openPublicKeys(config.signing, 'artifacts'), registered)
  await bringCopies(artifacts, { artifacts: [artifactDigest] })
  const { requests: logged = [], digested = [] } =
    peak === undefined
      ? {}
      : await listPeakRequests(store, {
          model,
          ...peak,
          limit: maxRequests,
          features: Object.keys(manifest.features),
        })
  const source = logged.length === 0 ? 'test' : 'log'
  const given = source === 'log' ? logged : (await testRows(deps, registered)).map((row) => [row])
  const requests = upTo(maxRows, given).map((rows) => rows.map((row) => sentOf(row, manifest.features)))
  const argv = [config.artifactRoot, artifactDigest, version]
  const outputs = await answersOfBatch(argv, beat, { rows: requests.flat(), features: manifest.features })
  let from = 0
  const limitMs = completeMonitorPolicy((await getModel(store, model)).definition.monitor).service
    .latencyP95Ms
  const job: LoadJob = {
    requests: requests.map((rows) => ({ rows, outputs: outputs.slice(from, (from += rows.length)) })),
    rate,
    seconds,
    limitMs,
  }
  beat.check()
  const found = await runServingChild<{ ok: true } & LoadResult>(argv, {
    script: 'api/processes/load-tester.ts',
    timeoutMs,
    input: JSON.stringify(job),
  })
  beat.check()
  if (!found.ok) throw new DomainError('artifact_invalid', `${version} cannot be served: ${found.message}`)
  const { ok: _, ...result } = found
  const asked = { rate, seconds, ...(factor !== undefined && { factor }), ...(peak && { peak }) }
  const notRepeated = digested.length > 0 && { digested }
  return { ...asked, ...result, source, limitMs, requests: requests.length, ...notRepeated }
}

/** The first requests with at most this many rows, and at least one request. */
function upTo(rows: number, requests: readonly FeatureRow[][]): FeatureRow[][] {
  let sum = 0
  return requests.filter((each, at) => (sum += each.length) <= rows || at === 0)
}

/** What a caller sends of a row that was logged for another version. */
const sentOf = (row: FeatureRow, features: Features): FeatureRow =>
  Object.fromEntries(Object.entries(row).filter(([name]) => Object.hasOwn(features, name)))

/** Rows of the test set on which the version was judged. */
async function testRows({ artifacts }: Deps, { version, lineage, manifest }: Version): Promise<FeatureRow[]> {
  await bringCopies(artifacts, { snapshot: lineage.snapshot })
  const path = await artifacts.locate('snapshots', lineage.snapshot)
  const names = manifest.featureOrder
  const rows = listRows(await readPart(path, 'test', { names, output: manifest.output }), names)
  if (rows.length === 0)
    throw new DomainError('invalid_request', `the snapshot of ${version} has no test rows`)
  const every = Math.ceil(rows.length / maxRequests)
  return rows.filter((_, at) => at % every === 0)
}

/** The outputs of each row in a batch, whose computed columns are those of a snapshot. */
async function answersOfBatch(
  argv: readonly string[],
  { signal }: Beat,
  { rows, features }: { rows: readonly FeatureRow[]; features: Features },
): Promise<(number | null)[][]> {
  const columns = Object.fromEntries(
    Object.keys(features).map((name) => [name, rows.map((row) => row[name] ?? null)]),
  )
  if (computedColumns(features).length > 0) {
    const preparer = await openPreparer(features)
    try {
      const computed = await preparer.compute((name) => columns[name] ?? rows.map(() => null), rows.length)
      for (const { name } of computedColumns(features))
        columns[name] = computed[name] as (number | string | null)[]
    } finally {
      preparer.close()
    }
  }
  const scorer = startScorer(argv, signal)
  try {
    const { width, outputs } = await scorer.score({ rows: rows.length, columns })
    return rows.map((_, row) => outputs.slice(row * width, (row + 1) * width))
  } finally {
    await scorer.close().catch(() => {})
  }
}
