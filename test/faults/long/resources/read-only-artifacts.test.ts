/** Tests an artifact folder that becomes read-only while the whole system runs, as a file system does after an error. Requires root. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { loadModel, modelsDirectory } from '../../../../models/index.ts'
import { verifyAudit } from '../../../../store/audit/audit-log.ts'
import { upsertModels } from '../../../../store/registry/models.ts'
import { listRetrainings } from '../../../../store/training/retrainings.ts'
import { openShow, type Show } from '../../../support/fleet/fleet-fixture.ts'
import { mountSmallDisk } from '../../../support/servers/small-disk.ts'
import { startCallers, type Callers } from '../../../support/servers/system-fixture.ts'
import { reached } from '../../figures.ts'

const trained = 'iris'
const disk = mountSmallDisk(1_000)

describe.skipIf(disk === undefined)('a read-only artifact folder', () => {
  let show: Show
  let callers: Callers
  let artifacts: string
  const remount = (how: 'ro' | 'rw') =>
    execFileSync('mount', ['-o', `remount,bind,${how}`, artifacts], { stdio: 'ignore' })

  beforeAll(async () => {
    show = await openShow({
      replicas: 2,
      leaseMs: 5_000,
      trains: true,
      stateRoot: disk!.path,
      async prepare({ artifactRoot }) {
        artifacts = artifactRoot
        mkdirSync(artifacts, { recursive: true })
        execFileSync('mount', ['--bind', artifacts, artifacts])
      },
    })
    await upsertModels(show.system.store, [await loadModel(trained, modelsDirectory)])
    callers = startCallers(show.system.urls, show.model)
  })
  afterAll(async () => {
    await callers?.stop()
    if (artifacts !== undefined) execFileSync('umount', ['-l', artifacts])
    await show?.system.stop()
    disk?.close()
  })
  afterEach((context) => {
    if (context.task.result?.state === 'fail')
      process.stderr.write(`${show.system.lines.slice(-80).join('\n')}\n`)
  })

  it('predictions and a release continue, and a retraining succeeds when the folder is writable again', async () => {
    const { system, key } = show
    const { release, version } = await show.start()
    await release.reaches('awaiting_approval')
    remount('ro')
    system.signal('api-2', 'SIGKILL')
    await release.say('approve', 'anna')
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
    expect(await show.champion()).toBe(version)
    const started = await fetch(`${system.urls[0]}/v1/models/${trained}/retrainings`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: '{}',
    })
    expect(started.status).toBe(202)
    // Its snapshot is tried five times within 15 s.
    await expect
      .poll(() => system.lines.some((line) => /takeSnapshot.*Read-only file system/.test(line)))
      .toBe(true)
    const [open] = await listRetrainings(system.store, { model: trained })
    expect(open?.outcome).toBeUndefined()
    remount('rw')
    await expect
      .poll(async () => (await listRetrainings(system.store, { model: trained }))[0]?.outcome)
      .toBe('released')
    expect(callers.failures.filter(({ url }) => url !== system.urls[1])).toEqual([])
    expect(await verifyAudit(system.store)).not.toMatchObject({ breach: expect.anything() })
    reached(
      'F50',
      'promoted meanwhile; the retraining ended as released when the folder could be written again',
    )
  })
})
