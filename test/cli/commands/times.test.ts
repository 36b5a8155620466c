/**
 * Tests that every command writes times on the clock of the terminal, names its zone, and reads times as it writes them. The API is a server
 * that answers objects with every field that a command may print.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { commands } from '../../../cli/commands/all-commands.ts'
import { runProgram, type CommandSpec } from '../../../cli/program.ts'
import { openTerminal } from '../../../cli/terminal.ts'
import { readTime } from '../../../cli/time-option.ts'

const at = '2026-11-27T05:29:03.123Z'
const local = { 'Europe/Vienna': '2026-11-27 06:29:03', 'America/New_York': '2026-11-27 00:29:03' }
const abbreviations = { 'Europe/Vienna': 'CET', 'America/New_York': 'EST' }
type Zone = keyof typeof local

/** The time of the option is to be pasted. */
const said = `since ${at}; see --as-of ${at}`
const texts = ['message', 'reason', 'why', 'about', 'refit', 'quality_unmeasured', 'problem', 'note']
const names = ['id', 'model', 'name', 'kind', 'actor', 'role', 'version', 'subject', 'action', 'key', 'cause']
const digests = [
  'hash',
  'digest',
  'artifact_digest',
  'policy_digest',
  'evaluation_digest',
  'definition_digest',
]
const moments = (
  'at since started_at ended_at raised_at sent_at created_at expires_at last_used_at requested_at recorded_at previous_until ' +
  'known_good_at rolled_back_at fired_at next_at watermark newest ran_at withdrawn_at'
).split(' ')
const lists = [
  'versions',
  'decisions',
  'commands',
  'trials',
  'curve',
  'problems',
  'inputs',
  'fields',
  'files',
]
const of = (keys: readonly string[], value: unknown) => Object.fromEntries(keys.map((key) => [key, value]))
const row = {
  ...of(texts, said),
  ...of(names, 'iris'),
  ...of(digests, 'f'),
  ...of(moments, at),
  ...of(lists, []),
  ...of(['counts', 'detail', 'metrics', 'values', 'features', 'report'], {}),
  ...of(['count', 'seq', 'share_bp', 'instances', 'instance', 'latency_us', 'requests', 'failed', 'rows'], 1),
  outcome: 'failed',
  state: 'delivered',
  stage: 'canary',
  status: 'failed',
  severity: 'critical',
  serve: 'champion',
  accepted: true,
  acknowledged: 0,
  models: ['iris'],
  entity: ['airport'],
  output: { kind: 'number' },
  champion: { version: 'iris_v1.0.0', since: at },
  source: { kind: 'x', rows: 'y' },
  snapshots: [{ digest: 'f', holds: 'yes', dropped_at: at }],
  outstanding: [],
  notes: [],
  waiting: [],
  estimate: { accuracy: null, error: null, pooled: null },
  signed_head: { seq: 1, at },
  unaudited: [],
}
const server = createServer(({ url = '' }, response) => {
  const asked = new URL(url, 'http://localhost').pathname.split('/').map((part) => part.replaceAll('-', '_'))
  const all = [
    'models',
    'releases',
    'retrainings',
    'kill_switches',
    'alerts',
    'definitions',
    'failures',
    ...asked,
  ]
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ ...row, ...of(all, [row]) }))
})
beforeAll(() => once(server.listen(0, '127.0.0.1'), 'listening'))
afterAll(() => void server.close())

async function tenure(words: readonly string[], zone: Zone) {
  let out = ''
  const write = (text: string) => (out += text)
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const code = await runProgram(commands, [...words, '--url', url], { out: { write }, err: { write }, zone })
  return { code, out }
}

/** They ask no API, or only after they have read a file or a database. */
const isLocal =
  /^(up|logs|doctor|init|setup|check|plan|apply|upgrade|backup|restore|reset|codec|completion|simulate|score|bundle|export|open|certificates)\b/
/** What a command needs besides its arguments. */
const more: Record<string, readonly string[]> = { 'erasures create': ['--subject', 's'] }
const asking = commands
  .flatMap((each): { words: string[]; spec: CommandSpec }[] =>
    'commands' in each
      ? each.commands.map((spec) => ({ words: [each.name, spec.name.split(' ')[0]!], spec }))
      : [{ words: [each.name.split(' ')[0]!], spec: each }],
  )
  .filter(({ words }) => !isLocal.test(words[0]!))
  .map(({ words, spec: { name, options = [] } }) => [
    ...words,
    ...[...name.matchAll(/<[^>]+>/g)].map(() => 'iris'),
    ...options.flatMap(([flag]) => (flag.startsWith('--reason ') ? ['--reason', 'r'] : [])),
    ...(more[words.join(' ')] ?? []),
  ])

/** Commands that have printed a time. */
const printing: string[] = []

describe.each(asking.map((words) => [words.join(' '), words] as const))('%s', (_, words) => {
  it.each(Object.keys(local) as Zone[])('has its times on the clock of %s, and names it', async (zone) => {
    const { out } = await tenure(words, zone)
    const text = out.replaceAll(`--as-of ${at}`, '')
    expect(text).not.toMatch(/UTC|T05:29|05:29:03/)
    if (!text.includes('2026-11-27')) return
    printing.push(
      words
        .slice(0, 2)
        .join(' ')
        .replace(/ iris$/, ''),
    )
    for (const [found] of text.matchAll(/2026-11-27.{9}/g)) expect(found).toBe(local[zone])
    const zonesNamed = text.match(new RegExp(`Times are in ${zone}\n|:03 ${abbreviations[zone]}\\b`, 'g'))
    expect(zonesNamed).toHaveLength(1)
  })
})

/** By group, where the API answers them. */
const timed: Record<string, string> = {
  '': 'abort approve pause promote-now reject resume rollback status try',
  alerts: 'list',
  audit: 'list verify',
  batch: 'list',
  commands: 'show',
  drills: 'list',
  erasures: 'list show',
  features: 'list show',
  keys: 'list rotate',
  'kill-switches': 'list',
  models: 'champion list show waiting',
  predictions: 'list show',
  releases: 'abort approve list pause promote-now reject resume rollback start watch',
  retrainings: 'list show',
  sweeps: 'list show',
  trials: 'list show',
  triggers: 'fire list',
  versions: 'failures list search',
}

it('the commands that print times are known', () =>
  expect([...new Set(printing)].toSorted()).toEqual(
    Object.entries(timed)
      .flatMap(([group, names]) => names.split(' ').map((name) => `${group} ${name}`.trim()))
      .toSorted(),
  ))

it('JSON stays in UTC', async () => {
  const { out } = await tenure(['keys', '--json'], 'Europe/Vienna')
  expect(out).toContain(`"created_at": "${at}"`)
  expect(out).not.toContain('Times are in')
})

/** A terminal in a zone, and what it has complained. */
function terminalIn(zone: string) {
  const said: string[] = []
  const write = (text: string) => void said.push(text)
  return { terminal: openTerminal({ out: { write }, err: { write }, zone }), said }
}

it('a time to come within two hours says how long it is until then', () => {
  const { terminal, said } = terminalIn('Europe/Vienna')
  const soon = new Date(Date.now() + 9 * 60_000).toISOString()
  terminal.say(`rolls back at ${soon}`)
  expect(said[0]).toMatch(/^rolls back at \d\d:\d\d CES?T \(in 9 min\)\n$/)
  expect(terminal.times(soon)).toMatch(/^\d\d:\d\d \(in 9 min\)$/)
})

it('a sentence of several times names their zone once, and again when it changes', () => {
  const { terminal, said } = terminalIn('Europe/Vienna')
  terminal.say('from 2026-10-24 12:00 UTC to 2026-10-24T13:00:00Z, again 2026-10-26T12:00:00.5+00:00')
  expect(said[0]).toBe('from 2026-10-24 14:00 CEST to 2026-10-24 15:00:00, again 2026-10-26 13:00:00 CET\n')
})

it.each([
  'retrain/iris-2026-11-27T05:29:03Z',
  '{"at":"2026-11-27T05:29:03Z"}',
  '--until 2026-11-27T05:29:03Z',
  'at=2026-11-27T05:29:03Z',
  '2026-02-31T25:29:03Z',
])('%s is to be pasted, or no time, and stays', (text) => {
  const { terminal, said } = terminalIn('Europe/Vienna')
  terminal.answer({}, text)
  expect(said).toEqual([`${text}\n`])
})

it.each(['', ':/etc/localtime', 'Mars/Olympus'])('TZ=%s, which names no zone, is UTC', (name) => {
  vi.stubEnv('TZ', name)
  try {
    expect(openTerminal({ out: { write() {} }, err: { write() {} } }).zone).toBe('UTC')
  } finally {
    vi.unstubAllEnvs()
  }
})

describe('a time option', () => {
  it.each(Object.entries(local))('in %s reads %s, as it is printed', (zone, printed) => {
    const { terminal, said } = terminalIn(zone)
    expect(readTime('--at', printed, terminal)).toBe('2026-11-27T05:29:03.000Z')
    const name = abbreviations[zone as Zone]
    expect(said).toEqual([`--at "${printed}" is read as ${printed} ${name}\n`])
    expect(readTime('--at', `${printed} ${name}`, terminal)).toBe('2026-11-27T05:29:03.000Z')
    expect(said).toHaveLength(1)
  })

  it.each([
    ['2026-03-01', '2026-02-28T23:00:00.000Z'],
    ['2026-03-01T12:00', '2026-03-01T11:00:00.000Z'],
    ['2026-03-01 12:00 UTC', '2026-03-01T12:00:00.000Z'],
    ['2026-03-01 12:00 Asia/Tokyo', '2026-03-01T03:00:00.000Z'],
    ['2026-10-25 02:30 CEST', '2026-10-25T00:30:00.000Z'],
    ['2026-10-25 02:30 CET', '2026-10-25T01:30:00.000Z'],
    ['2026-03-01 12:00 GMT', '2026-03-01T12:00:00.000Z'],
    ['2026-03-01 12:00 EST', '2026-03-01T17:00:00.000Z'],
    ['2026-07-01 12:00 PDT', '2026-07-01T19:00:00.000Z', 'America/Los_Angeles'],
    ['2026-11-01 01:30 PDT', '2026-11-01T08:30:00.000Z', 'America/Los_Angeles'],
    ['2026-11-01 01:30 PST', '2026-11-01T09:30:00.000Z', 'America/Los_Angeles'],
    ['2026-03-01T12:00:00+02:00', '2026-03-01T10:00:00.000Z'],
  ])('reads %s as %s', (text, instant, zone = 'Europe/Vienna') =>
    expect(readTime('--at', text, terminalIn(zone).terminal)).toBe(instant),
  )

  it.each([
    '2026-03-01 12:00 XYZ',
    '2026-03-01 12:00 Nowhere/At',
    '2026-07-01 12:00 CET',
    '2026-99-99 CET',
    '2026-02-31',
    '12:00',
    'March 1',
  ])('refuses %s, and says which forms there are', (text) =>
    expect(() => readTime('--at', text, terminalIn('Europe/Vienna').terminal)).toThrow(
      `--at: Invalid time "${text}"; use 2026-03-01 12:00, in Europe/Vienna, or 2026-03-01T12:00:00Z`,
    ),
  )
})
