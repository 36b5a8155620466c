/** Tests what all commands share: help with valid examples, errors with a remedy, one JSON document. */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { auditedAction, reasonOfRow } from '../../../cli/commands/admin/audit.ts'
import { commands } from '../../../cli/commands/all-commands.ts'
import { freePort } from '@tenure/embedded'
import { exitCodes } from '../../../cli/exit-codes.ts'
import { runProgram, type CommandSpec } from '../../../cli/program.ts'
import { openTerminal, tableOf } from '../../../cli/terminal.ts'

interface Listed {
  /** The words of the command: `releases show`. */
  words: string[]
  spec: CommandSpec
}

const wordOf = (name: string): string => name.split(' ')[0] ?? name
const listed: Listed[] = commands.flatMap((each) =>
  'commands' in each
    ? each.commands.map((spec) => ({ words: [each.name, wordOf(spec.name)], spec }))
    : [{ words: [wordOf(each.name)], spec: each }],
)
const named = listed.map((each) => [each.words.join(' '), each] as const)

async function tenure(...words: string[]) {
  let out = ''
  let err = ''
  const streams = {
    out: { write: (text: string) => (out += text) },
    err: { write: (text: string) => (err += text) },
  }
  const code = await runProgram(commands, words, streams)
  return { code, out, err }
}

/** Returns one word per required argument. */
const wanted = (spec: CommandSpec): string[] => [...spec.name.matchAll(/<[^>]+>/g)].map(() => 'x')

beforeEach(async () => {
  vi.stubEnv('TENURE_URL', `http://127.0.0.1:${await freePort()}`)
  vi.stubEnv('TENURE_KEY', '')
  vi.stubEnv('TENURE_STATE', join(tmpdir(), `tenure-commands-${process.pid}`))
})
afterEach(() => vi.unstubAllEnvs())

it('the program has every documented command', () => {
  const names = new Set([...named.map(([name]) => name), ...commands.map(({ name }) => wordOf(name))])
  for (const name of [
    ['up', 'status', 'models', 'models sync', 'retrain', 'releases', 'releases show', 'releases start'],
    [
      'approve',
      'reject',
      'pause',
      'resume',
      'abort',
      'rollback',
      'drills run',
      'simulate',
      'policy suggest',
      'monitor backtest',
      'models champion',
      'commands show',
    ],
    ['versions search', 'versions compare', 'versions card', 'batch', 'keys', 'audit verify'],
    ['backup', 'restore', 'export', 'doctor', 'reset'],
  ].flat())
    expect(names, name).toContain(name)
})

it('audit marks a refused command', () => {
  const action = 'release.approve'
  expect(auditedAction({ action, detail: { accepted: false } })).toBe('release.approve (refused)')
  expect(auditedAction({ action, detail: { accepted: true } })).toBe(action)
  expect(auditedAction({ action, detail: {} })).toBe(action)
})

it('the reason of an audited action is that of its actor, or the first changed field of a model', () => {
  expect(reasonOfRow({ detail: { reason: 'new tariffs' } })).toBe('new tariffs')
  expect(reasonOfRow({ detail: { fields: ['seed: 1 → 2', 'about'] } })).toBe('seed: 1 → 2, and 1 more')
  expect(reasonOfRow({ detail: { reason: 'x'.repeat(200) } })).toHaveLength(100)
  expect(reasonOfRow({ detail: { reason: null } })).toBe('–')
})

describe.each(named)('tenure %s', (name, { words, spec }) => {
  it('has help with examples', async () => {
    const { code, out, err } = await tenure(...words, '--help')
    expect([code, err]).toEqual([exitCodes.done, ''])
    expect(out).toMatch(/^Usage: tenure /)
    expect(out).toContain('--json')
    expect(out).toMatch(/Examples:\n {2}.*\btenure /)
  })

  it('has examples with its own name and existing options', () => {
    const own = (spec.options ?? []).flatMap(([flags]) => flags.match(/--[\w-]+/g) ?? [])
    const known = new Set(['--json', '--url', ...own])
    expect(spec.examples.length).toBeGreaterThan(0)
    for (const given of spec.examples) {
      const example = given.replace(/^.*\btenure /, '')
      const isDefault = spec.isDefault === true && example.split(' ')[0] === words[0]
      expect(example.startsWith(name) || isDefault, example).toBe(true)
      const first = example.split(' || ')[0] ?? example
      for (const [option] of first.matchAll(/(?<= )--[a-z][a-z-]*/g)) expect(known, example).toContain(option)
    }
  })

  it('refuses an unknown option as text and as JSON, and points to its help', async () => {
    const { code, out, err } = await tenure(...words, ...wanted(spec), '--no-such-thing')
    expect([code, out]).toEqual([exitCodes.usage, ''])
    expect(err).toContain('--help')
    const inJson = await tenure(...words, ...wanted(spec), '--no-such-thing', '--json')
    expect(inJson.out).toBe('')
    expect(JSON.parse(inJson.err)).toMatchObject({ code: 'usage', remedy: expect.stringContaining('--help') })
  })

  it('refuses a second value of an option that has one', async () => {
    const single = ['--url <url>', ...(spec.options ?? []).map(([flags]) => flags)].filter((flags) =>
      /<[^…]+>$/.test(flags),
    )
    for (const flags of single) {
      const given = [/--[\w-]+/.exec(flags)![0], flags.endsWith('<time>') ? '2026-03-01T12:00:00Z' : 'x']
      const { code, err } = await tenure(...words, ...wanted(spec), ...given, ...given)
      expect(err, flags).toContain('was given before: give one value')
      expect(code).toBe(exitCodes.usage)
    }
  })

  it.runIf(/<[^>]+>/.test(spec.name))('requires its arguments', async () => {
    const { code, err } = await tenure(...words)
    expect(code).toBe(exitCodes.usage)
    expect(err).toMatch(/argument|missing|wanted/)
  })
})

/** Commands that call the API at once, with their required arguments. */
const asking: readonly (readonly string[])[] = [
  ['status'],
  ['alerts'],
  ['alerts', 'acknowledge', '17'],
  ['models'],
  ['retrain', 'iris'],
  ['try', 'iris'],
  ['sweep', 'iris', '--grid', 'units=8,16'],
  ['releases'],
  ['releases', 'show', 'iris'],
  ['releases', 'start', 'iris_v1.0.0'],
  ...['approve', 'pause', 'resume', 'abort', 'rollback'].map((name) => [name, 'rel_1']),
  ...['reject', 'promote-now'].map((name) => [name, 'rel_1', '--reason', 'x']),
  ['drills', 'run', 'iris'],
  ['drills'],
  ['versions'],
  ['versions', 'search', 'x'],
  ['versions', 'compare', 'a', 'b'],
  ['versions', 'card', 'iris'],
  ['models', 'champion', 'iris', '--at', '2026-01-01T00:00:00Z'],
  ['commands', 'show', 'cmd_1'],
  ['erasures'],
  ['erasures', 'show', 'era_1'],
  ['erasures', 'create', 'iris', '--subject', 'x'],
  ['batch'],
  ['batch', 'run', 'iris', '--input', 'x.csv'],
  ['export', 'iris', join(tmpdir(), 'tenure-never-made')],
  ['kill-switches'],
  ['kill-switches', 'set', 'iris', 'normal', '--reason', 'x'],
  ['keys'],
  ['keys', 'create', 'a', '--role', 'viewer'],
  ['keys', 'rotate', 'a'],
  ['keys', 'revoke', 'a'],
  ['audit'],
  ['audit', 'verify'],
]

it.each(asking)('tenure %s %s explains how to reach Tenure if nothing listens', async (...words) => {
  const { code, out, err } = await tenure(...words, '--json')
  expect([code, out]).toEqual([exitCodes.unreachable, ''])
  expect(JSON.parse(err)).toMatchObject({
    code: 'unreachable',
    detail: expect.stringContaining('ECONNREFUSED'),
    remedy: expect.stringContaining('tenure up'),
  })
})

it('without a command prints the help', async () => {
  const { code, out } = await tenure()
  expect(code).toBe(exitCodes.done)
  expect(out).toMatch(/^Usage: tenure <command>/)
})

describe('an unknown command', () => {
  it.each([
    [['doctr'], 'doctor'],
    [['relases', 'show'], 'releases'],
    [['models', 'lits'], 'list'],
    [['releases', 'shwo', 'iris'], 'show'],
    [['audit', 'verfy'], 'verify'],
    [['promote-no'], 'promote-now'],
  ])('%j suggests %s', async (words, meant) => {
    const { code, err } = await tenure(...words)
    expect(code).toBe(exitCodes.usage)
    expect(err).toContain(`Did you mean ${meant}?`)
  })

  it.each([[['xyzzy']], [['predict']], [['deploy']], [['cancel']], [['keys', 'test']]])(
    '%j without a similar one points to the help',
    async (words) => {
      const { code, err } = await tenure(...words)
      expect(code).toBe(exitCodes.usage)
      expect(err).toContain(`unknown command '${words.at(-1)}'`)
      expect(err).not.toContain('Did you mean')
      expect(err).toMatch(/See `tenure .*--help`/)
    },
  )

  it.each(commands.map(({ name }) => wordOf(name)))(
    '%s is suggested for each word with two of its letters swapped',
    async (name) => {
      for (let at = 0; at + 1 < name.length; at++) {
        const word = `${name.slice(0, at)}${name[at + 1]}${name[at]}${name.slice(at + 2)}`
        if (name.length < 3 || commands.some((each) => wordOf(each.name) === word)) continue
        expect((await tenure(word)).err).toMatch(new RegExp(`Did you mean .*\\b${name}\\b.*\\?`))
      }
    },
  )
})

it.each([
  [['simulate', '--releases', 'many'], '--releases must be a whole number from 1 to 1000000, not "many"'],
  [['simulate', '--scenario', 'odd'], 'unknown --scenario "odd"'],
  [
    ['simulate', '--scenario', 'error:2'],
    '--scenario "error:2" is not of the form error:RATE: the canary fails RATE (0..1) of its requests',
  ],
  [['simulate', '--traffic', '/nowhere/at/all'], '/nowhere/at/all'],
  [['policy', 'suggest', 'iris', '--hours', '1,long'], '--hours is a list of numbers from 0.01 to 1000'],
  [
    ['policy', 'suggest', 'iris', '--false-rollback', '0.2'],
    '--false-rollback must be a number from 0.001 to 0.05',
  ],
  [['policy', 'suggest', 'iris', '--traffic', '/nowhere/at/all'], '/nowhere/at/all'],
  [
    ['policy', 'suggest', 'iris', '--fault', 'bad'],
    '--fault is one of errors, worse, stale-feature, any, not bad',
  ],
  [['simulate', '--scenario', 'earns:-0.1'], 'needs a --policy with business metrics'],
  [['simulate', '--scenario', 'measured:1'], 'needs a --policy with external metrics'],
  [['monitor', 'backtest', 'iris', '--days', '1000'], '--days must be a number from 0.01 to 92'],
  [['retrain', 'iris', '--as-of', 'tomorrow'], '--as-of: Invalid time "tomorrow"'],
  [['retrain', 'iris', '--set', 'units'], 'Invalid --set "units"; use name=value'],
  [['retrain', 'iris', '--set', 'units=1', '--set', 'units=2'], '--set units is given twice'],
  [['retrain', 'iris', '--set', 'postgres://u:hunter2@h/db'], 'Invalid --set "postgres://u:[redacted]@h/db"'],
  [['no-command', '--set', 'https://u:hunter2@h/db'], 'unknown command'],
  [['compress', 'iris'], '--to is missing: one of lossless, float16'],
  [['compress', 'iris', '--to', 'zip'], '--to must be one of lossless, float16'],
  [['compress', 'iris', '--to', 'int8', '--keep', '3'], '--keep counts trees, and --to int8 leaves none out'],
  [['compress', 'iris', '--to', 'int8', '--epsilon', '0'], '--epsilon must be a number above 0 and below 1'],
  [['compress', 'iris', '--to', 'int8', '--epsilon', '1'], '--epsilon must be a number above 0 and below 1'],
  [['compress', 'iris', '--to', 'int8', '--times', '1'], '--times must be a number above 1 and at most 100'],
  [['sweep', 'iris'], 'No hyperparameter to try; use --grid units=16,32'],
  [['sweep', 'iris', '--grid', 'units'], 'Invalid --grid "units"'],
  [['sweep', 'iris', '--grid', 'units=1', '--random', 'many'], '--random must be a whole number'],
  [
    ['sweep', 'iris', '--grid', 'units=1', '--parallel', '17'],
    '--parallel must be a whole number from 1 to 16',
  ],
  [['keys', 'create', 'x'], '--role is missing'],
  [['keys', 'create', 'x', '--role', 'king'], '--role must be one of'],
  [['keys', 'create', 'x', '--role', 'viewer', '--rate', 'fast'], '--rate must be a whole number'],
  [['drills', 'run', 'iris', '--failure-budget', ''], '--failure-budget must be a whole number'],
  [['drills', 'run', 'iris', '--within', 'soon'], '--within must be a number from 0.001 to 86400'],
  [['kill-switches', 'set', 'iris', 'sideways', '--reason', 'x'], '<serve> must be one of'],
  [['batch', 'run', 'iris'], 'exactly one of --input and --query'],
  [['releases', 'show', 'iris', '--decisions', 'all'], '--decisions must be a whole number'],
  [['up', '--replicas', '0'], '--replicas must be a whole number from 1 to 16'],
  [['up', '--exit'], '--exit requires --demo'],
  [['guard-gateway', 'iris', '--every', '0'], '--every must be a number from 1 to 600'],
  [['guard-gateway', 'iris', '--checks', 'few'], '--checks must be a whole number from 1 to 1000'],
  [
    ['guard-gateway', 'iris', '--replica', 'ftp://x'],
    '--replica is an http:// or https:// address, not "ftp://x"',
  ],
  [['guard-gateway', 'iris'], 'the model file of iris names no gateway'],
  [['restore'], 'no backup is named: `tenure restore <file>`'],
])('%j is refused with a reason and a remedy', async (words, text) => {
  const { code, out, err } = await tenure(...words)
  expect([code, out]).toEqual([exitCodes.usage, ''])
  expect(err).toContain(text)
  expect(err).not.toContain('hunter2')
  expect(err.trim().split('\n').length).toBeGreaterThan(1)
})

const suggestion = [
  'policy',
  'suggest',
  'iris',
  '--rps',
  '50',
  '--hours',
  '0.25',
  '--releases',
  '10',
  '--settings',
]

it('policy suggest prints the plans that no other beats, and the lines of the model file', async () => {
  const { code, out } = await tenure(...suggestion, 'none', '--failure-budget', '500')
  expect(code).toBe(exitCodes.done)
  expect(out).toMatch(/^7 plans, 10 releases of each under each of 5 conditions, on 50 requests\/s/)
  expect(out).toMatch(/→ .* % /)
  expect(out).toContain('release: canary({')
  expect(out).toContain('limits: { harmBudget: 500')
})

it('policy suggest without a plan within the limits says so', async () => {
  const { code, out } = await tenure(...suggestion, 'none', '--failure-budget', '0')
  expect(code).toBe(exitCodes.otherwise)
  expect(out).toContain('allow more with --failure-budget, or longer stages with --hours')
})

it('policy suggest names the models when there is no such model', async () => {
  const { code, err } = await tenure('policy', 'suggest', 'nothing', '--rps', '1')
  expect(code).not.toBe(exitCodes.done)
  expect(err).toContain('there is no model nothing here; the models are flight-delay, iris')
})

it('--version prints the version of the package', async () => {
  const { code, out } = await tenure('--version')
  expect(code).toBe(exitCodes.done)
  expect(out).toMatch(/^\d+\.\d+\.\d+\n$/)
})

describe('the terminal', () => {
  const opened = (tty: { hasColors: boolean; columns?: number } | undefined) => {
    let out = ''
    const stream = {
      write: (text: string) => (out += text),
      ...(tty === undefined
        ? {}
        : { isTTY: true, hasColors: () => tty.hasColors, columns: tty.columns ?? 40 }),
    }
    const terminal = openTerminal({ out: stream, err: { write: () => true } })
    return { terminal, out: () => out }
  }

  it('shows a result of more than one screen in the pager, on a TTY only', () => {
    const shownBy = (json: boolean, isTTY: boolean, canPage = true) => {
      const written: string[] = []
      const paged: string[] = []
      const out = { write: (text: string) => written.push(text), isTTY, rows: 3, columns: 40 }
      const page = (text: string) => canPage && paged.push(text) > 0
      const terminal = openTerminal({ out, err: { write: () => true }, page }, { json })
      terminal.answer(['a', 'b'], 'a\nb')
      terminal.answer(['a', 'b', 'c'], 'a\nb\nc')
      return { written, paged }
    }
    expect(shownBy(false, true)).toEqual({ written: ['a\nb\n'], paged: ['a\nb\nc\n'] })
    expect(shownBy(false, true, false)).toEqual({ written: ['a\nb\n', 'a\nb\nc\n'], paged: [] })
    expect(shownBy(true, true).paged).toEqual([])
    expect(shownBy(false, false).paged).toEqual([])
  })

  it('uses colours on a TTY with colour support only', () => {
    expect(opened({ hasColors: true }).terminal.paint('red', 'x')).toContain('\u001b[')
    expect(opened({ hasColors: false }).terminal.paint('red', 'x')).toBe('x')
    expect(opened(undefined).terminal.paint('red', 'x')).toBe('x')
  })

  it.each([true, false])('prints no control character of a text that it shows (colours: %s)', (hasColors) => {
    const reason = 'all well\u001b[2J\u001b[8mhidden\r\nnext\rline\u009b31m\u202ebackwards\u0007'
    const seen = String.raw`all well\u001b[2J\u001b[8mhidden
next\u000dline\u009b31m\u202ebackwards\u0007`
    const { terminal, out } = opened({ hasColors, columns: 400 })
    terminal.say(`${terminal.paint('red', terminal.paint('bold', reason))} ${reason}`)
    terminal.answer({}, tableOf(['reason'], [[reason]]))
    expect(stripVTControlCharacters(out()).split(seen)).toHaveLength(4)
    // oxlint-disable-next-line no-control-regex -- colours of the terminal itself are allowed
    expect(out().replaceAll(/\u001b\[(1|22|31|39)m/g, '')).not.toMatch(/[^\P{Cc}\n]/u)
    const piped = openTerminal(
      { out: { write: (text) => pipe.push(text) }, err: { write: () => {} } },
      { json: true },
    )
    const pipe: string[] = []
    piped.answer({ reason }, '')
    expect(pipe.join('')).not.toMatch(/[^\P{Cc}\n]/u)
    expect(JSON.parse(pipe.join(''))).toEqual({ reason })
  })

  it('replaces live lines and leaves none behind', () => {
    const { terminal, out } = opened({ hasColors: false, columns: 20 })
    terminal.live(['one', 'a line that is longer than the terminal is wide'])
    terminal.live(['two'])
    terminal.answer({}, 'done')
    expect(out()).toBe(
      'one\na line that is\n  longer than the\n  terminal is wide\r\u001b[3A\u001b[0Jtwo\r\u001b[0Jdone\n',
    )
    const piped = opened(undefined)
    piped.terminal.live(['one'])
    piped.terminal.progress('two')
    expect(piped.out()).toBe('')
  })
})
