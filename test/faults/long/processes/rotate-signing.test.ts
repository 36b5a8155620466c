/**
 * Rotates every signing key on real processes, with the operator's command, while clients request predictions, users send commands to a
 * release and a session is open. Nothing may fail.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { keysGroup } from '../../../../cli/commands/admin/keys.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runProgram } from '../../../../cli/program.ts'
import { listAudit } from '../../../../store/audit/audit-log.ts'
import { keyPurposes, listTrusted } from '../../../../store/signing/key-files.ts'
import { openShow, showPolicy, type Show } from '../../../support/fleet/fleet-fixture.ts'
import { startCallers } from '../../../support/servers/system-fixture.ts'

const rounds = 3
let show: Show
beforeAll(async () => {
  show = await openShow({ replicas: 2, leaseMs: 5_000 })
})
afterAll(async () => {
  await show?.system.stop()
})
afterEach((context) => {
  vi.unstubAllEnvs()
  if (context.task.result?.state === 'fail')
    process.stderr.write(`${show.system.lines.slice(-40).join('\n')}\n`)
})

async function rotate(purpose: string): Promise<void> {
  let err = ''
  const streams = { out: { write() {} }, err: { write: (text: string) => (err += text) } }
  const code = await runProgram([keysGroup], ['keys', 'rotate-signing', purpose], streams)
  expect({ code, err }).toEqual({ code: exitCodes.done, err: '' })
}

it('no request, command, session or audit row fails while each key is rotated three times under load', async () => {
  const { system, model, key } = show
  const { config, store, urls } = system
  vi.stubEnv('TENURE_STATE', config.stateDir)
  vi.stubEnv('DATABASE_URL', config.databaseUrl)
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const signIn = await fetch(`${urls[0]}/sign-in`, {
    method: 'POST',
    redirect: 'manual',
    headers: { accept: 'text/html', 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ key }),
  })
  const cookie = signIn.headers.get('set-cookie')?.split(';')[0] ?? ''
  const callers = startCallers(urls, model)
  const step = { minMs: 25_000, minRequests: 20, deadlineMs: 240_000 }
  const { release, version } = await show.approved({
    ...showPolicy,
    stages: [{ ...step, shareBp: 5_000 }],
    probation: { ...step, minMs: 2_000, holdbackBp: 1_000 },
  })
  await release.reaches('canary')

  const failures: string[] = []
  const waitsMs: number[] = []
  const stopping = new AbortController()
  let commands = 0
  /** A busy machine may not connect to Postgres in time. The API says so, and the client asks again with the same key. */
  const send = async (name: string): Promise<void> => {
    const url = urls[commands++ % urls.length]
    const request = {
      method: 'POST',
      headers: { ...headers, 'idempotency-key': `rotation-${commands}` },
      body: JSON.stringify({ reason: `command ${commands}` }),
    }
    for (;;) {
      const fromMs = performance.now()
      const answer = await fetch(`${url}/v1/releases/${release.id}/${name}`, request)
      waitsMs.push(performance.now() - fromMs)
      const text = await answer.text()
      if (text.includes('"postgres_unavailable"')) continue
      if (answer.status !== 200) failures.push(`${name}: ${answer.status} ${text}`)
      return
    }
  }
  const command = async () => {
    while (!stopping.signal.aborted) for (const name of ['pause', 'resume']) await send(name)
  }
  const look = async () => {
    while (!stopping.signal.aborted) {
      for (const url of urls) {
        const page = await fetch(`${url}/`, { redirect: 'manual', headers: { accept: 'text/html', cookie } })
        await page.arrayBuffer()
        if (page.status !== 200) failures.push(`the session: ${page.status}`)
      }
      await pause(100)
    }
  }
  const working = Promise.all([command(), look()])
  callers.reset()
  const before = Object.fromEntries(
    keyPurposes.map((each) => [each, listTrusted(config.signing, each).length]),
  )
  try {
    for (let round = 0; round < rounds; round++)
      for (const purpose of keyPurposes) {
        await rotate(purpose)
        await pause(300)
      }
  } finally {
    stopping.abort()
    await working
  }
  expect(await release.result()).toMatchObject({ outcome: 'promoted' })
  await callers.stop()

  const answered = [...callers.answered.values()].reduce((sum, count) => sum + count, 0)
  waitsMs.sort((a, b) => a - b)
  process.stderr.write(
    `${rounds * keyPurposes.length} rotations, ${answered} predictions, ${commands} commands ` +
      `(median ${Math.round(waitsMs[waitsMs.length >> 1] ?? 0)} ms): ${callers.failures.length + failures.length} failures\n`,
  )
  expect(callers.failures).toEqual([])
  expect(failures).toEqual([])
  expect(answered).toBeGreaterThan(100)
  expect(commands).toBeGreaterThan(rounds)
  expect(callers.answered.get(version) ?? 0).toBeGreaterThan(100)
  for (const purpose of keyPurposes)
    expect(listTrusted(config.signing, purpose)).toHaveLength(before[purpose]! + rounds)
  const rotations = await listAudit(store, { action: 'signing_key.rotated', limit: 100 })
  expect(rotations).toHaveLength(rounds * keyPurposes.length)
  // Every row and the newest head verify, whichever key signed them.
  const verified = async () =>
    (await (await fetch(`${urls[0]}/v1/audit/verify`, { headers })).json()) as Record<string, unknown>
  const newest = async () => (await listAudit(store, { limit: 1 }))[0]!.seq
  const last = await newest()
  // Other rows may follow, and a report answers other requests for a minute.
  await expect
    .poll(async () => ((await verified())['signed_head'] as { seq: number } | undefined)?.seq)
    .toBeGreaterThanOrEqual(last)
  expect(await verified()).not.toHaveProperty('breach')
})
