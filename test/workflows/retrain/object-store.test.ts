/**
 * Tests a retraining and its release on machines that share only the servers and an object store, on a real S3 server that becomes
 * unavailable and returns.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openSharedArtifacts } from '../../../store/objects/artifact-copies.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { releaseWorkflowId, type RetrainOutcome } from '../../../workflows/messages.ts'
import type { release } from '../../../workflows/release.ts'
import { environmentOf, sharedMoto } from '../../support/objects/moto-server.ts'
import { insertPeople } from '../../support/release/candidates.ts'
import { fixtureRelease } from '../../support/release/release-fixture.ts'
import { openCuttableLink, type CuttableLink } from '../../support/servers/cuttable-link.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import {
  servingFixtureOn,
  startReplica,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../support/serving/serving-fixture.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'

const moto = await sharedMoto()
const model = uniqueName('roses')
const rose = { instances: [{ size: 1, colour: 'red', age: 1 }] }
let root: string
let link: CuttableLink
let pipeline: Pipeline
let fixture: ServingFixture
let environment: Record<string, string>
const replicas: TestReplica[] = []

beforeAll(async () => {
  if (moto === undefined) return
  root = await mkdtemp(join(tmpdir(), 'tenure-object-store-'))
  link = await openCuttableLink(moto.endpoint)
  const endpoint = link.url.replace(/\/$/, '')
  environment = environmentOf({ ...(await moto.bucket()), endpoint })
  pipeline = await openPipeline({ environment, trainerRoot: join(root, 'trainer') })
  const { config, store } = pipeline
  await insertPeople(store, { anna: 'approver' })
  await insertExampleRows(store, { from: 0, to: 40 })
  await syncExampleModel(store, pipeline.models, {
    name: model,
    more: "release: direct({ approval: { by: 1, within: '1 h' }, refit: 'matured', refitDistance: 0.5 }),",
  })
  fixture = servingFixtureOn({ databaseUrl: config.databaseUrl, artifactRoot: config.artifactRoot })
})
afterAll(async () => {
  for (const replica of replicas) await replica.stop()
  await fixture?.close()
  await pipeline?.close()
  await link?.close()
  await moto?.stop()
  if (root !== undefined) await rm(root, { recursive: true })
})

/** Starts a replica of a machine with its own state and an empty artifact directory. */
async function replicaOn(machine: string): Promise<TestReplica> {
  const { objectStore } = pipeline.config
  const artifacts = openSharedArtifacts({ artifactRoot: join(root, machine, 'artifacts'), objectStore })
  const replica = await startReplica(fixture, { stateDir: join(root, machine), artifacts })
  replicas.push(replica)
  return replica
}
const answerOf = (replica: TestReplica): string | undefined => {
  try {
    return replica.ask(model, rose).version
  } catch {
    return undefined
  }
}
const waits = (what: RegExp) => () =>
  pipeline.lines.some(({ level, message }) => level === 'warn' && what.test(message))

describe.skipIf(moto === undefined)('an installation with an object store', () => {
  let version: string
  it('makes a retraining wait while the store is unreachable, and continue when it is back', async () => {
    link.cut()
    const handle = await pipeline.start({ model, asOf: exampleDay(35) })
    await until(waits(/waits for the object store/), 'the snapshot to wait')
    const [line] = pipeline.lines.filter(({ message }) => message.includes('waits for the object store'))
    expect(String(line?.fields['error'])).toMatch(
      /^the object store s3:\/\/tenure-\S+ at http:\S+ does not answer/,
    )
    link.mend()
    const ended: RetrainOutcome = await handle.result()
    expect(ended.outcome, ended.message).toBe('released')
    version = ended.version!
    // Each machine has only the artifacts that it has written or read: here the rows of the training and of the refit.
    expect(await readdir(join(root, 'trainer', 'snapshots'))).toHaveLength(2)
  })

  it('promotes the version, which a replica without a shared directory loads from the store', async () => {
    const replica = await replicaOn('far')
    const handle = pipeline.client.workflow.getHandle<typeof release>(releaseWorkflowId(model))
    const { runId } = await handle.describe()
    const running = fixtureRelease(pipeline, { ...handle, firstExecutionRunId: runId } as never)
    await running.reaches('awaiting_approval')
    await running.say('approve', 'anna')
    expect((await running.result()).outcome).toBe('promoted')
    expect((await findChampion(pipeline.store, model))?.version).toBe(version)
    await until(() => answerOf(replica) === version, 'the replica to serve')
  })

  it('answers from the disk of a replica that starts while the store is away, and fails no prediction', async () => {
    const [running] = replicas
    link.cut()
    expect(answerOf(running!)).toBe(version)
    const started = await replicaOn('far')
    await until(() => answerOf(started) === version, 'the started replica to serve')
    // A machine that never had the version starts, names the store, and serves when it is back.
    const other = await replicaOn('other')
    await until(
      () => /the object store s3:.* does not answer/.test(other.troubles.join()),
      'the store to be named',
    )
    expect(answerOf(other)).toBeUndefined()
    expect(answerOf(running!)).toBe(version)
    link.mend()
    await until(() => answerOf(other) === version, 'the other replica to serve')
  })
})
