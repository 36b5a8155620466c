/** Tests `tenure alerts`, and the alerts of `tenure status`, against a server that records the requests. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { alertsGroup } from '../../../../cli/commands/admin/alerts.ts'
import { statusCommand } from '../../../../cli/commands/admin/status.ts'
import { runProgram } from '../../../../cli/program.ts'
import { runCommand } from '../../../support/command-line.ts'

const alert = {
  id: 17,
  model: 'iris',
  severity: 'critical',
  kind: 'quality_lost',
  message: 'iris lost quality',
  raised_at: '2026-03-01T12:00:00Z',
}
/** Groups besides the two below. */
let more: object[] = []
let models: object[] = []
let server: Server
let url: string
const asked: string[] = []
beforeAll(async () => {
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      asked.push(`${request.method} ${request.url} ${body}`)
      response.writeHead(200, { 'content-type': 'application/json' })
      const pinned = { model: 'iris', serve: 'champion', actor: 'ada', at: alert.raised_at, reason: 'slow' }
      const kill_switches = [pinned, { ...pinned, model: 'rain', serve: 'normal' }]
      const lists = {
        kill_switches,
        groups: [...groups, ...more],
        models,
        releases: [drill],
      }
      response.end(JSON.stringify(request.method === 'GET' ? lists : alert))
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())

const drill = {
  id: 'rel_1',
  version: 'iris_v0.0.1',
  stage: 'shadow',
  share_bp: 1_000,
  drill: 'bad',
  why: 'Waits.',
}

const groups = [
  { ...alert, count: 8, acknowledged: 2, acknowledged_by: 'ada', since: alert.raised_at },
  {
    id: 9,
    kind: 'disk_full',
    severity: 'critical',
    count: 1,
    acknowledged: 0,
    since: alert.raised_at,
    message: 'full',
  },
]

it('lists the groups of open alerts with severity, sentence and time, and counts their alerts', async () => {
  const { out } = await runCommand([alertsGroup], ['alerts', '--wide', '--url', url])
  expect(out).toMatch(/iris\/quality_lost +critical +8 +2026-03-01 12:00:00 +ada, 2 of 8 +iris lost quality/)
  expect(out).toMatch(/disk_full +critical +1 /)
  expect(out).toContain('9 alerts in 2 groups')
  expect(asked).toEqual(['GET /v1/alerts/groups '])
})

it.each(['acknowledge', 'resolve'])('%ss an alert with a reason', async (action) => {
  asked.length = 0
  const words = ['alerts', action, '17', '--reason', 'in repair', '--url', url]
  const { out } = await runCommand([alertsGroup], words)
  expect(out).toBe(`Alert 17 is ${action}d: iris lost quality\n`)
  expect(asked).toEqual([`POST /v1/alerts/17/${action} {"reason":"in repair"}`])
})

it('acknowledges several groups, each with one request', async () => {
  asked.length = 0
  const words = ['alerts', 'acknowledge', 'iris/quality_lost', 'disk_full', '--url', url]
  const { out } = await runCommand([alertsGroup], words)
  expect(out).toBe('iris: quality lost, 8 alerts: acknowledged\nA disk is full: acknowledged\n')
  expect(asked).toEqual([
    'GET /v1/alerts/groups ',
    'POST /v1/alerts/17/acknowledge {"group":true}',
    'POST /v1/alerts/9/acknowledge {"group":true}',
  ])
})

it('a group without open alerts is refused before any is changed', async () => {
  asked.length = 0
  const words = ['alerts', 'acknowledge', 'disk_full', 'rain/failed', '--url', url]
  const { err, code } = await runCommand([alertsGroup], words)
  expect([code === 0, err]).toEqual([
    false,
    expect.stringContaining('No open alerts of the group rain/failed'),
  ])
  expect(asked).toEqual(['GET /v1/alerts/groups '])
})

it('the status has the beginning of each message on a terminal of 80 columns', async () => {
  const message = `iris lost quality: ${'a long reason '.repeat(20)}`
  more = [{ ...groups[1]!, kind: 'quality_floor', model: 'iris', message }]
  const written: string[] = []
  const out = { write: (text: string) => written.push(text), isTTY: true, columns: 80 }
  await runProgram([statusCommand], ['status', '--url', url], { out, err: out })
  more = []
  const lines = written.join('').split('\n')
  expect(lines).toContain(`  ${message.slice(0, 77)}…`)
})

it('the status has the worst five groups with their counts and times, and says how many more there are', async () => {
  more = Array.from({ length: 6 }, (_, i) => ({ ...groups[1]!, kind: `failed_${i}`, severity: 'warning' }))
  const status = await runCommand([statusCommand], ['status', '--url', url])
  more = []
  expect(status.out).toMatch(
    /iris\/quality_lost +critical +8 +2026-03-01 12:00:00 +ada, 2 of 8 +iris lost quality/,
  )
  expect(status.out).toContain('failed_2')
  expect(status.out).not.toContain('failed_3')
  expect(status.out).toContain('and 3 more: tenure alerts')
  expect(status.out).toContain('No models. Add a model file')
  expect(status.out).toContain('iris: pinned to champion by ada since 2026-03-01 12:00:00: slow')
  expect(status.out).not.toContain('rain')
  expect(status.out).toContain('rel_1 iris_v0.0.1: shadow (drill: bad), 10 %')
  expect(status.out).not.toContain('Answer:')
})

it.each([
  ['awaiting_approval', 'Answer: `tenure approve rel_1` or `tenure reject rel_1`'],
  [
    'awaiting_decision',
    'Answer: `tenure approve rel_1`, `tenure resume rel_1` for more time, or `tenure reject rel_1`',
  ],
])('the status names the commands that answer a release at %s', async (stage, answers) => {
  onTestFinished(() => void (drill.stage = 'shadow'))
  drill.stage = stage
  expect((await runCommand([statusCommand], ['status', '--url', url])).out).toContain(answers)
})

it.each([
  [
    'is 0 while the requests of the last minute succeed',
    { requests: 400, failed: 3, is_failing: false },
    'warning',
    0,
  ],
  [
    'is 1 while too many requests of the last minute fail',
    { requests: 400, failed: 196, is_failing: true },
    'warning',
    1,
  ],
  [
    'is 1 while the alert of a failing champion is open',
    { requests: 0, failed: 0, is_failing: false },
    'critical',
    1,
  ],
  [
    'is 0 while the alert of a version that was rolled back is open',
    { requests: 740, failed: 0, is_failing: false },
    'critical',
    0,
    'iris_v1.1.0',
  ],
] as const)('the exit code of the status %s', async (_, minute, severity, code, failed?: string) => {
  const version = 'iris_v1.0.0'
  models = [
    { name: 'iris', champion: { version, since: alert.raised_at }, last_minute: { version, ...minute } },
  ]
  if (severity === 'critical') more = [{ ...groups[0]!, kind: 'champion_failing', version: failed }]
  const status = await runCommand([statusCommand], ['status', '--url', url])
  models = []
  more = []
  expect(status.code).toBe(code)
  expect(/iris (fails|failed, and its alert is open): .*iris_v1\.0\.0/.test(status.out)).toBe(code === 1)
})
