/** Tests that all lists about models accept a model in the same form. The API is a server that records its requests. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { commands } from '../../../cli/commands/all-commands.ts'
import { exitCodes } from '../../../cli/exit-codes.ts'
import { startTenure } from '../../support/commands/tenure-process.ts'
import { runCommand } from '../../support/command-line.ts'

const asked: string[] = []
/** The step that the API names for a model without a champion. */
let firstStep: string | undefined
const server = createServer(({ url = '' }, response) => {
  asked.push(url)
  const [, field = ''] = /^\/v1\/(?:alerts\/)?([a-z-]+)(?:\?|$)/.exec(url) ?? []
  const next = url.includes('cursor=now') ? { next_cursor: 'later' } : {}
  const body = { [field]: [], models: [{ name: 'iris' }], first_step: firstStep, ...next }
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
})
beforeAll(() => once(server.listen(0, '127.0.0.1'), 'listening'))
afterAll(() => void server.close())

const tenure = async (...words: string[]) => {
  asked.length = 0
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { ...(await runCommand(commands, [...words, '--url', url])), first: asked[0] }
}

const groups = commands.flatMap((each) => ('commands' in each ? [each] : []))
const ofModels = groups.filter(({ commands: own }) =>
  own.some(
    ({ name, options = [] }) =>
      name.startsWith('list') && options.some(([flag]) => flag === '--model <model>'),
  ),
)

it('releases, versions and what else is listed by model', () => {
  expect(ofModels.map(({ name }) => name).sort()).toEqual(
    [
      'alerts',
      'audit',
      'batch',
      'drills',
      'erasures',
      'predictions',
      'releases',
      'retrainings',
      'sweeps',
      'trials',
      'triggers',
      'versions',
    ].sort(),
  )
})

it.each(['erasures', 'predictions', 'triggers'])(
  '%s says of an empty page that the search goes on, and how',
  async (group) => {
    const page = await tenure(group, '--limit', '1', '--cursor', 'now')
    expect(page.first).toMatch(/cursor=now&limit=1/)
    expect(page.out).toBe(`No ${group} so far: the search has not ended. Continue with --cursor later\n`)
  },
)

it('audit goes on before an entry', async () => {
  expect((await tenure('audit', 'iris', '--before', '41200', '--limit', '1000')).first).toBe(
    '/v1/audit?before=41200&model=iris&limit=1000',
  )
})

it.each([
  [[], 'No predictions in the last 24 hours; name an earlier --since'],
  [['--until', '2026-03-01'], 'No predictions in the 24 hours before --until; name an earlier --since'],
  [['--since', '2026-03-01'], 'No predictions'],
  [['--reference', 'order-1'], 'No predictions'],
  [['--subject', 'ada'], 'No predictions'],
])('predictions %j says which period has none', async (words, text) => {
  expect((await tenure('predictions', 'iris', ...words)).out).toBe(`${text}\n`)
})

it.each([
  ['list', 'iris'],
  ['export', 'iris', '--output', 'never.csv'],
])('predictions %s reads the person from standard input', async (...words) => {
  asked.length = 0
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { child, ended } = startTenure({ TENURE_URL: url }, ['predictions', ...words, '--subject', '-'], {
    input: 'ada\n',
  })
  onTestFinished(() => void child.kill())
  await ended
  expect(asked[0]).toMatch(/^\/v1\/predictions\?(.*&)?subject=ada(&|$)/)
})

it('releases says whether it lacks any release or an open one', async () => {
  expect((await tenure('releases')).out).toContain('No releases yet')
  expect((await tenure('releases', '--open')).out).toBe('No release is open.\n')
})

it('releases and retrainings name the step that brings the model its first champion', async () => {
  firstStep = 'Bring a version to release: `tenure versions register iris --artifact FILE`.'
  onTestFinished(() => void (firstStep = undefined))
  expect((await tenure('releases', 'iris')).out).toBe(`No releases yet. ${firstStep}\n`)
  expect((await tenure('retrainings', 'iris')).out).toBe(`No retraining. ${firstStep}\n`)
  expect((await tenure('retrainings', 'show', 'iris')).err).toContain(firstStep)
})

it.each(['batch', 'kill-switches', 'erasures', 'audit', 'drills', 'alerts'])(
  '%s without a row says so',
  async (group) => {
    expect((await tenure(group)).out).toMatch(/^No .+\n$/)
  },
)

describe.each(ofModels.map(({ name }) => name))('%s', (group) => {
  it('lists those of a model, which is an argument or an option', async () => {
    const forms = [
      [group, 'iris'],
      [group, 'list', 'iris'],
      [group, 'list', '--model', 'iris'],
    ]
    const answers = []
    for (const words of forms) answers.push(await tenure(...words))
    expect(answers.map(({ code }) => code)).toEqual(forms.map(() => exitCodes.done))
    expect(answers[0]!.first).toContain('model=iris')
    expect(new Set(answers.map(({ first }) => first?.split(/[?&]/).sort().join()))).toHaveProperty('size', 1)
  })

  it('refuses two models, and suggests a command for a mistyped one', async () => {
    const two = await tenure(group, 'iris', '--model', 'flight-delay')
    expect(two).toMatchObject({ code: exitCodes.usage, first: undefined })
    expect(two.err).toContain('two models are named, iris and flight-delay: name one')
    const mistyped = await tenure(group, 'lits')
    expect(mistyped).toMatchObject({ code: exitCodes.usage, first: undefined })
    expect(mistyped.err).toContain('Did you mean list?')
  })
})
