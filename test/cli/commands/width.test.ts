/** Tests that lists and helps keep the width of a terminal, and that lists say where they stop. The API is a server that answers wide rows. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { commands } from '../../../cli/commands/all-commands.ts'
import { runProgram } from '../../../cli/program.ts'
import { factsTable, openTerminal } from '../../../cli/terminal.ts'

const at = '2026-11-27T05:29:03.123Z'
const wide =
  'a reason of an operator with so many words that no terminal has a line for all of them, whatever it is'
/** A row with every field of every list. */
const row = {
  id: 'rel_01a21cbe62ae708c807640329916c679',
  model: 'flight-delay',
  name: 'flight-delay',
  seq: 1_234,
  version: 'flight-delay_v1.10.0',
  stage: 'awaiting_approval',
  share_bp: 2_500,
  outcome: 'rolled_back',
  reason: wide,
  message: wide,
  about: wide,
  problem: wide,
  waits_for: wide,
  actor: 'ada',
  role: 'operator',
  severity: 'critical',
  kind: 'bad',
  serve: 'champion',
  problems: [wide],
  status: 'running',
  scored: 1,
  entity: ['airport'],
  values: { late: 'number' },
  models: ['flight-delay'],
  versions: [],
  counts: {},
  outputs: [0.0123456789, 0.9876543211],
  detail: { reason: wide },
  action: 'champion.rolled_back',
  subject: 'flight-delay_v1.10.0',
  hash: 'f'.repeat(64),
  digest: 'f'.repeat(64),
  trigger: 'webhook',
  traffic: 'mirrored',
  held: true,
  passed: true,
  harm_budget: 50,
  harmed: 1,
  detection_ms: 1_234,
  champion: { version: 'v', since: at },
  started_at: at,
  raised_at: at,
  since: at,
  at,
  created_at: at,
  requested_at: at,
  known_good_at: at,
  next_at: at,
  requested_by: 'ada',
  created_by: 'ada',
  metrics: { auc: 0.7 },
  artifact_digest: 'f'.repeat(64),
}
let count = 1
const asked: string[] = []
const server = createServer(({ url = '' }, response) => {
  asked.push(url)
  const field = /^\/v1\/(?:alerts\/)?([a-z-]+)/.exec(url)![1]!.replaceAll('-', '_')
  const limit = Number(/limit=(\d+)/.exec(url)?.[1] ?? count)
  const rows = Array.from({ length: Math.min(limit, count) }, (_, i) => ({ ...row, name: `model-${i}` }))
  const isPaged = ['erasures', 'predictions', 'triggers', 'versions'].includes(field) && limit < count
  const body = { [field]: rows, ...(isPaged && { next_cursor: 'later' }) }
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
})
beforeAll(() => once(server.listen(0, '127.0.0.1'), 'listening'))
afterAll(() => void server.close())

/** Runs a command on a terminal of this width, or in a pipe. */
async function run(words: readonly string[], columns?: number) {
  asked.length = 0
  const written: string[] = []
  const stream = { write: (text: string) => written.push(text) }
  const out = columns === undefined ? stream : { ...stream, columns, isTTY: true, hasColors: () => true }
  const code = await runProgram(commands, words, { out, err: stream })
  // What shows a slow call is erased.
  const text = written.join('').replaceAll(/.*\r.\[0J/g, '')
  return { code, text, lines: stripVTControlCharacters(text).trimEnd().split('\n') }
}
const tenure = (words: readonly string[], columns?: number) =>
  run([...words, '--url', `http://127.0.0.1:${(server.address() as AddressInfo).port}`], columns)
const tooWide = (lines: readonly string[]) => lines.filter((line) => line.length > 80)

const lists = commands.flatMap((group) =>
  'commands' in group
    ? group.commands.filter(({ name }) => /^list\b/.test(name) && !name.includes('<')).map(() => group.name)
    : [],
)

/** Each group with a list: its column with the result of a row, and those that say what the row is about. */
const results: Record<string, readonly string[]> = {
  alerts: ['severity', 'group'],
  audit: ['action', 'target'],
  batch: ['status', 'version'],
  drills: ['result', 'model', 'drill'],
  erasures: ['stage', 'model'],
  features: ['', 'view'],
  keys: ['state', 'name'],
  'kill-switches': ['serves', 'model'],
  models: ['champion', 'model'],
  predictions: ['answer', 'prediction'],
  releases: ['outcome', 'version'],
  retrainings: ['outcome', 'model'],
  sweeps: ['outcome', 'model'],
  trials: ['outcome', 'hyperparameters', 'score', 'model'],
  triggers: ['outcome', 'trigger', 'model'],
  versions: ['status', 'version'],
}

it('the groups with a list are known', () => expect(lists.toSorted()).toEqual(Object.keys(results)))

describe.each(lists)('the list of %s', (group) => {
  it('has no line wider than a terminal of 80 columns, and is whole in a pipe and with --wide', async () => {
    count = 3
    const narrow = await tenure([group], 80)
    expect([narrow.code, tooWide(narrow.lines)]).toEqual([0, []])
    // Its first column names a row, and is whole.
    const whole = await tenure([group, '--wide'], 80)
    const first = whole.lines[1]!.split(/ {2,}/)[0]!
    expect(narrow.lines[1]!.startsWith(first)).toBe(true)
    const piped = await tenure([group])
    expect(piped.lines).toEqual(whole.lines)
    expect(piped.text).toBe(stripVTControlCharacters(piped.text))
    // A column without a heading is named as the state of a row.
    const hidden = narrow.lines.find((line) => line.startsWith('--wide also shows: '))?.slice(19) ?? ''
    const [result = '', ...about] = results[group]!.map((heading) => heading || 'state')
    expect(hidden.split(', ').filter((each) => [result, ...about].includes(each))).toEqual([])
    // Nothing but the name of the row stays as long as its result.
    const least = await tenure([group], 1)
    const shown = least.lines[0]!.split(/ {2,}/).length
    expect(shown).toBeLessThanOrEqual(2)
    if (result !== 'state') expect(least.lines[0]!.replaceAll('…', '')).toContain(result)
  })
  it('shows as many rows as --limit says, and says that there are more', async () => {
    count = 9
    const { lines } = await tenure([group, '--limit', '3'], 80)
    const said = lines.slice(lines.indexOf('') + 1).join('\n')
    expect(said).toMatch(/--limit/)
    const json = JSON.parse((await tenure([group, '--limit', '3', '--json'])).text) as Record<
      string,
      unknown[]
    >
    expect(Object.values(json).find(Array.isArray)).toHaveLength(3)
    const { lines: all } = await tenure([group, '--limit', '9'], 80)
    expect(all.join('\n')).not.toMatch(/--limit/)
  })
})

it('a cell that is too wide is broken between its words, and all of them are shown', async () => {
  count = 1
  const { lines } = await tenure(['retrainings'], 80)
  const at = lines[0]!.indexOf('message')
  expect(at).toBeGreaterThan(0)
  const cell = lines.slice(1).map((line) => line.slice(at).trim())
  expect(cell.join(' ')).toContain(wide)
})

it('an alert has the beginning of its message below its row where the table is too wide, and a column elsewhere', async () => {
  count = 2
  const { lines } = await tenure(['alerts'], 80)
  const below = `  ${wide.slice(0, 77)}…`
  expect([lines[2], lines[4]]).toEqual([below, below])
  expect(lines[0]).not.toContain('message')
  expect(lines.find((line) => line.startsWith('--wide also shows: ')) ?? '').not.toContain('message')
  const { lines: whole } = await tenure(['alerts'], 200)
  expect(whole[0]).toContain('message')
  expect(whole[1]).toContain(wide)
})

const helps = commands.flatMap((each) =>
  'commands' in each
    ? [[each.name], ...each.commands.map(({ name }) => [each.name, name.split(' ')[0]!])]
    : [[each.name.split(' ')[0]!]],
)

it('the help of the program and of every command fits 80 columns, but for examples, which are lines to copy', async () => {
  for (const words of [[], ...helps]) {
    const { code, lines } = await run([...words, '--help'], 80)
    expect(code).toBe(0)
    const end = lines.indexOf('Examples:')
    expect(tooWide(end < 0 ? lines : lines.slice(0, end)), words.join(' ')).toEqual([])
  }
  const { lines } = await run(['--help'], 80)
  expect(tooWide(lines)).toEqual([])
  for (const heading of ['Operate:', 'Release:', 'Train:', 'Data:', 'Project:', 'Admin:'])
    expect(lines).toContain(heading)
})

it('facts are broken between words on a terminal, and whole in a pipe', () => {
  const stream = { write: () => true }
  const factsAt = (columns?: number) =>
    factsTable(openTerminal({ out: { ...stream, ...(columns !== undefined && { columns }) }, err: stream }), [
      ['model', 'iris'],
      ['requested by', wide],
    ])
  const lines = factsAt(60).split('\n')
  expect(lines.filter((line) => line.length > 60)).toEqual([])
  expect(
    lines
      .slice(1)
      .map((line) => line.slice(14).trim())
      .join(' '),
  ).toBe(wide)
  expect(factsAt().split('\n')).toHaveLength(2)
})
