/**
 * Tests a full disk under the whole state of a `tenure up`: Postgres, Temporal, logs, caches and artifacts. Requires root, for a disk of a
 * few hundred megabytes.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findConnection, type Connection } from '../../../../cli/client/connection.ts'
import { openStore, type Store } from '../../../../store/postgres.ts'
import { verifyAudit } from '../../../../store/audit/audit-log.ts'
import { checkout, environmentWith } from '../../../../temporal.config.ts'
import { startLoad, waitUntil, type ClosedLoad } from '../../../support/serving/api-process.ts'
import { irisRow, irisSpec } from '../../../support/serving/artifact.ts'
import { nextRoute, registerFixtureVersion, writeChampion } from '../../../support/serving/registration.ts'
import { keyPlacesOf } from '../../../support/serving/sign-versions.ts'
import { reached } from '../../figures.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-state-disk-'))
const stateDir = join(root, 'state')
const ballast = join(stateDir, 'ballast')
const isMounted = process.getuid?.() === 0 && mount()

function mount(): boolean {
  try {
    chmodSync(root, 0o711)
    mkdirSync(stateDir)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=400m', 'tmpfs', stateDir], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Fills the disk in pieces. */
async function fill(): Promise<void> {
  const file = await open(ballast, 'a')
  const fits = (chunk: Buffer) =>
    file.write(chunk).then(
      ({ bytesWritten }) => bytesWritten === chunk.length,
      () => false,
    )
  for (let bytes = 1_048_576; bytes >= 1_024; bytes /= 4) while (await fits(Buffer.alloc(bytes)));
  await file.close()
}

describe.skipIf(!isMounted)('a full disk under the whole state', () => {
  let tenure: ChildProcess
  let connection: Connection
  let store: Store
  let load: ClosedLoad
  const output: string[] = []

  beforeAll(async () => {
    const ports = ['TENURE_PORT', 'TENURE_POSTGRES_PORT', 'TENURE_TEMPORAL_PORT']
    tenure = spawn(process.execPath, [join(checkout, 'cli/tenure.mjs'), 'up'], {
      cwd: tmpdir(),
      env: environmentWith({
        ...Object.fromEntries(ports.map((name) => [name, '0'])),
        DATABASE_URL: '',
        TEMPORAL_ADDRESS: '',
        TENURE_STATE: stateDir,
        TENURE_KEYS: keyPlacesOf(join(stateDir, 'artifacts')).keys,
        TENURE_PUBLIC_PREDICTIONS: 'on',
      }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [tenure.stdout, tenure.stderr])
      stream?.on('data', (text: Buffer) => output.push(String(text)))
    await waitUntil(() => output.join('').includes('Ctrl-C stops everything'), 'the start')
    connection = findConnection(stateDir)!
    // The machine is busy with the recovery when the test looks.
    const patient = { connectMs: 60_000, queryMs: 60_000 }
    store = openStore(connection.databaseUrl, { max: 2, ...patient, onError: () => {} })
    const version = await registerFixtureVersion(store, join(stateDir, 'artifacts'), irisSpec())
    await writeChampion(store, 'iris', version)
    await nextRoute(store, 'iris', { proven: version })
    const path = '/v1/models/iris/predict'
    const body = JSON.stringify({ instances: [irisRow] })
    await waitUntil(
      async () =>
        (
          await fetch(`${connection.url}${path}`, {
            method: 'POST',
            body,
            headers: { 'content-type': 'application/json' },
          })
        ).status === 200,
      'a prediction',
    )
    load = startLoad(connection.url, { path, body, callers: 8, rate: 60 })
  })
  afterAll(async () => {
    await load?.stop()
    await store?.close()
    const ended = new Promise((resolve) => tenure.once('exit', resolve))
    if (tenure.exitCode === null && tenure.kill('SIGINT')) await ended
    execFileSync('umount', ['-l', stateDir])
    rmSync(root, { recursive: true, force: true })
  })

  const ask = async (path: string, body?: object) => {
    const answer = await fetch(`${connection.url}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${connection.key}`, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
    return { status: answer.status, text: await answer.text() }
  }
  let keys = 0
  const createKey = () => ask('/v1/keys', { name: `disk-${keys++}`, role: 'viewer' })
  /** Kills the processes of the supervisor whose command lines match this pattern; pkill skips a process that has ended. */
  const kill = (command: string) =>
    spawnSync('pkill', ['-KILL', '-P', String(tenure.pid), '-f', '--', command])
  const restarts = (name: string) => output.join('').split(`${name} ended (`).length - 1

  it('predictions continue, writes are refused with the reason, and everything recovers when there is room, whichever process was killed', async () => {
    await fill()
    kill('worker\\.ts|start-dev')
    await waitUntil(() => ['control', 'train', 'temporal'].every((name) => restarts(name) > 0), 'restarts')
    let refusal = { status: 201, text: '' }
    await waitUntil(async () => (refusal = await createKey()).status !== 201, 'a refused write')
    expect(refusal.status).toBe(503)
    expect(refusal.text).toMatch(
      /"detail":"Postgres (has no room on its disk|did not answer): .*"code":"postgres_unavailable"/,
    )
    kill('postgres -D')
    // Whether it can start depends on the room that is left in its newest segment of the log.
    await waitUntil(() => restarts('postgres') > 0, 'a restart of Postgres')
    expect(tenure.exitCode).toBeNull()

    rmSync(ballast)
    const from = performance.now()
    await waitUntil(async () => (await createKey()).status === 201, 'an accepted write')
    const runs = async () => (await ask('/v1/models/iris/retrainings', {})).status === 202
    await waitUntil(runs, 'a retraining that starts')
    const healedMs = performance.now() - from
    await waitUntil(async () => (await ask('/readyz')).text.includes('"ready"'), 'a ready replica')
    expect(load.failed()).toBe(0)
    expect(await verifyAudit(store)).not.toMatchObject({ breach: expect.anything() })
    reached(
      'F42',
      `${load.answered()} predictions, ${load.failed()} failed; writes and retrainings are accepted ${(healedMs / 1_000).toFixed(1)} s after there was room`,
    )
  })
})
