import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DomainError, errorTable } from '../../domain/errors.ts'
import { failure } from '../../cli/client/client.ts'
import { freePort } from '@tenure/embedded'
import { exitCodes } from '../../cli/exit-codes.ts'
import { runProgram, type CommandSpec } from '../../cli/program.ts'

const usual = errorTable.invalid_request.remedy
let server: Server
let url: string
const answers: Record<string, { status: number; body: string; type?: string }> = {
  '/good': { status: 200, body: '{"rows":[1]}' },
  '/refused': { status: 409, body: problem('command_refused', 'it has ended') },
  '/ended': { status: 409, body: problem('command_refused', 'it ended at 2026-11-27T01:37:04.280Z') },
  '/no-champion': { status: 503, body: problem('no_champion', 'iris has no champion') },
  '/missing': { status: 404, body: problem('release_not_found', 'no release rel_1') },
  '/down': { status: 503, body: problem('postgres_unavailable', 'Postgres did not answer') },
  '/back-soon': { status: 503, body: problem('postgres_unavailable', 'Postgres did not answer', true) },
  '/defect': { status: 500, body: problem('internal', 'boom') },
  '/keyless': { status: 401, body: problem('unauthenticated', 'no key') },
  '/invalid': { status: 400, body: problem('invalid_request', 'limit: a number', false, usual) },
  '/special': { status: 400, body: problem('invalid_request', 'limit: a number') },
  '/other': { status: 502, body: '<html>proxy</html>' },
  '/page': { status: 200, body: '<html>' },
}

function problem(code: string, detail: string, retryable = false, remedy = 'Do the other thing.'): string {
  return JSON.stringify({ code, detail, remedy, retryable })
}

/** Path → number of requests. */
const asked = new Map<string, number>()

beforeAll(async () => {
  server = createServer((request, response) => {
    const path = request.url ?? ''
    asked.set(path, (asked.get(path) ?? 0) + 1)
    const isBack = path === '/back-soon' && asked.get(path)! > 2
    const answer = answers[isBack ? '/good' : path] ?? { status: 404, body: '{}' }
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())

const fetchIt: CommandSpec = {
  name: 'fetch <path> [more]',
  summary: 'Fetches a path.',
  options: [['--loud', 'shout']],
  examples: ['fetch /good'],
  async run({ terminal, api }, { args, options }) {
    const answer = await api().get(String(args[0]))
    terminal.say('a remark')
    terminal.answer(answer, options['loud'] ? 'FETCHED' : 'fetched')
  },
}
const breaks = (name: string, error: unknown): CommandSpec => ({
  name,
  summary: 'Breaks.',
  examples: [name],
  run: () => Promise.reject(error as Error),
})
const specs = [
  fetchIt,
  breaks('defect', new TypeError('x is undefined')),
  breaks('full', new Error('ENOSPC: no space left on device, write')),
  breaks('misconfigured', new DomainError('configuration_invalid', '2 issues')),
  breaks('direct', new DomainError('postgres_unavailable', 'Postgres did not answer')),
  breaks('up', new DomainError('postgres_unavailable', 'Postgres did not answer')),
  breaks('unlike', failure({ code: 'otherwise', detail: 'it was rolled back' })),
  {
    name: 'group',
    summary: 'A group.',
    commands: [
      { ...breaks('one', new Error('one')), isDefault: true as const },
      { ...fetchIt, name: 'two', examples: ['group two'] },
    ],
  },
]

async function run(...words: string[]) {
  let out = ''
  let err = ''
  const streams = {
    out: { write: (text: string) => (out += text), isTTY: false },
    err: { write: (text: string) => (err += text) },
  }
  const code = await runProgram(specs, words, streams)
  return { code, out, err }
}

describe('a command', () => {
  it('prints text, and one JSON document with --json', async () => {
    expect(await run('fetch', '/good', '--loud', '--url', url)).toEqual({
      code: exitCodes.done,
      out: 'a remark\nFETCHED\n',
      err: '',
    })
    const { out } = await run('fetch', '/good', '--json', '--url', url)
    expect(JSON.parse(out)).toEqual({ rows: [1] })
  })

  it.each([
    ['/refused', exitCodes.refused, 'it has ended (command_refused)'],
    ['/ended', exitCodes.refused, 'it ended at 2026-11-27 01:37:04 UTC (command_refused)'],
    ['/no-champion', exitCodes.refused, 'iris has no champion (no_champion)'],
    ['/missing', exitCodes.notFound, 'no release rel_1 (release_not_found)'],
    ['/down', exitCodes.unreachable, 'Postgres did not answer (postgres_unavailable)'],
    ['/defect', exitCodes.defect, 'boom (internal)'],
    ['/keyless', exitCodes.refused, 'Set TENURE_KEY'],
    ['/other', exitCodes.unreachable, 'returned 502 without a problem document'],
    ['/page', exitCodes.unreachable, 'did not return JSON'],
  ])('maps the response of %s to exit code %i', async (path, code, text) => {
    const result = await run('fetch', path, '--url', url)
    expect(result.code).toBe(code)
    expect(result.err).toContain(text)
    expect(result.out).toBe('')
  })

  it('retries after a response that says that a retry can help', async () => {
    const result = await run('fetch', '/back-soon', '--url', url)
    expect([result.code, asked.get('/back-soon')]).toEqual([exitCodes.done, 3])
    expect(asked.get('/down')).toBe(1)
  })

  it('explains how to start Tenure if nothing listens', async () => {
    const result = await run('fetch', '/good', '--url', `http://127.0.0.1:${await freePort()}`)
    expect(result.code).toBe(exitCodes.unreachable)
    expect(result.err).toMatch(/does not respond at http:\/\/127.0.0.1:\d+ \(ECONNREFUSED\)/)
    expect(result.err).toContain('tenure up')
  })

  it.each([
    ['/invalid', 'See `tenure fetch --help`.'],
    ['/special', 'Do the other thing.'],
  ])('names the help of the command where the remedy of the API names fields: %s', async (path, remedy) =>
    expect((await run('fetch', path, '--url', url)).err).toContain(`(invalid_request)\n      ${remedy}\n`),
  )

  it.each([
    ['direct', 'Start the installation with `tenure up`, or set DATABASE_URL to a server that runs'],
    ['up', errorTable.postgres_unavailable.remedy],
  ])('%s has the remedy of a command that asks a server itself', async (name, remedy) => {
    const { code, err } = await run(name)
    expect(code).toBe(exitCodes.unreachable)
    expect(err).toContain(`(postgres_unavailable)\n      ${remedy}`)
  })

  it('prints errors as JSON in JSON mode', async () => {
    const result = await run('fetch', '/refused', '--json', '--url', url)
    expect(JSON.parse(result.err)).toEqual({
      code: 'command_refused',
      detail: 'it has ended',
      remedy: 'Do the other thing.',
      status: 409,
    })
    expect(result.out).toBe('')
  })

  it.each([
    ['defect', exitCodes.defect, 'x is undefined'],
    ['full', exitCodes.usage, 'a disk is full: ENOSPC: no space left on device, write (usage)'],
    ['misconfigured', exitCodes.usage, 'Correct the settings that the message names'],
    ['unlike', exitCodes.otherwise, 'it was rolled back'],
    ['group', exitCodes.defect, 'one'],
  ])('%s ends with exit code %i', async (name, code, text) => {
    const result = await run(name)
    expect(result.code).toBe(code)
    expect(result.err).toContain(text)
  })
})

describe('wrong usage', () => {
  it.each([
    ['an unknown command', ['nothing']],
    ['the help of an unknown command', ['nothing', '--help']],
    ['a missing argument', ['fetch']],
    ['an unknown option', ['fetch', '/good', '--quiet']],
    ['one argument too many', ['fetch', 'a', 'b', 'c']],
    ['an unknown command of a group', ['group', 'three']],
  ])('%s', async (_name, words) => {
    const result = await run(...words)
    expect(result.code).toBe(exitCodes.usage)
    expect(result.err).toMatch(/See `tenure [a-z ]*--help`/)
  })
})

describe('help', () => {
  it('lists the commands and the exit codes', async () => {
    const { code, out } = await run('--help')
    expect(code).toBe(exitCodes.done)
    for (const text of ['fetch', 'group', 'Exit codes:', '130']) expect(out).toContain(text)
  })

  it('shows options and examples of a command', async () => {
    const { out } = await run('fetch', '--help')
    for (const text of ['--loud', '--json', '--url', 'tenure fetch /good']) expect(out).toContain(text)
  })
})
