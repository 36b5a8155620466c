/** Tests a retraining whose folder of artifacts is unmounted before it and during it: an empty mount point is left, and then the folder is back. */
import { mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { watchOutages } from '../../../activities/alerts/delivery/outage-watch.ts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  createFolderCheck,
  expectMarker,
  findUnmounted,
  requireReachable,
} from '../../../store/artifact-marker.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { listKnownPaths } from '../../../store/registry/artifact-retention.ts'
import type { RetrainOutcome } from '../../../workflows/messages.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { until } from '../../support/serving/serving-fixture.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'

const model = uniqueName('roses')
let pipeline: Pipeline
let folder: string
beforeAll(async () => {
  pipeline = await openPipeline()
  folder = pipeline.config.artifactRoot
  await insertExampleRows(pipeline.store, { from: 0, to: 40 })
  await syncExampleModel(pipeline.store, pipeline.models, { name: model })
  expectMarker(folder, () => listKnownPaths(pipeline.store))
  // As a worker does at its start: the database knows no file yet, so the folder gets its marker.
  await requireReachable(folder)
})
afterAll(() => pipeline?.close())

const unmount = async () => {
  await rename(folder, `${folder}.away`)
  await mkdir(folder)
}
/** Fails when something was written into the mount point. */
const mount = async () => {
  expect(await readdir(folder)).toEqual([])
  await rmdir(folder)
  await rename(`${folder}.away`, folder)
}
/** Lines of the worker's log about an activity that waits for the folder. */
const waits = (activity: RegExp) => () =>
  pipeline.lines.some(
    ({ message, fields }) =>
      activity.test(message) &&
      String(fields['error']).startsWith('the folder of the artifacts is not mounted'),
  )

it('waits while the folder is unmounted, writes nothing into the mount point, and goes on when it is mounted again', async () => {
  await unmount()
  const handle = await pipeline.start({ model, asOf: exampleDay(35) })
  await until(waits(/^the activity takeSnapshot waits$/), 'the snapshot to wait')
  await mount()
  await until(async () => (await listKnownPaths(pipeline.store)).length > 0, 'the row of the snapshot')
  await unmount()
  await until(waits(/^the activity (?!takeSnapshot)\w+ waits$/), 'the next step to wait')
  await mount()
  const ended: RetrainOutcome = await handle.result()
  expect(ended.outcome, ended.message).toBe('released')
})

it('is unreachable for a worker that starts meanwhile and for the doctor, until it is mounted', async () => {
  await unmount()
  await expect(requireReachable(folder)).rejects.toMatchObject({ code: 'object_store_unavailable' })
  expect(findUnmounted(folder, true)).toMatch(/is not mounted: .* has no file \.tenure-artifacts$/)
  await mount()
  await requireReachable(folder)
  expect(findUnmounted(folder, true)).toBeUndefined()
})

it('raises an alert, which closes when the folder is mounted again, also after a restart of the process that raised it', async () => {
  const { store, config } = pipeline
  const watch = () => watchOutages({ store, config, log: { warn: () => {} }, everyMs: 50 })
  const found = async () =>
    (await listAlerts(store, {}))
      .filter(({ kind, message }) => kind === 'artifacts_unreachable' && message.includes(folder))
      .map(({ severity, resolvedAt }) => [severity, resolvedAt !== undefined])
  const first = watch()
  await unmount()
  await expect.poll(found).toEqual([['critical', false]])
  expect(first.seen()).toMatchObject([{ kind: 'artifacts_unreachable' }])
  await first.stop()
  await mount()
  const second = watch()
  await expect.poll(found).toEqual([['critical', true]])
  expect(second.seen()).toEqual([])
  await second.stop()
})

it('is not told of while neither a marker nor the database says what it is, and nothing is written into it', async () => {
  const other = `${folder}-other`
  expectMarker(other, () => Promise.reject(new Error('the database is away')))
  expect(await createFolderCheck(other)()).toBe(false)
  await expect(requireReachable(other)).rejects.toMatchObject({ code: 'object_store_unavailable' })
})

it('gets its marker if it holds a known file: earlier versions wrote none', async () => {
  await rm(join(folder, '.tenure-artifacts'))
  await requireReachable(folder)
  expect(await readdir(folder)).toContain('.tenure-artifacts')
})
