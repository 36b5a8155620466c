/** Tests `tenure open`, and the names that the completion asks for, against a real API. */
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { commands } from '../../../../cli/commands/all-commands.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runCommand } from '../../../support/command-line.ts'
import { listenFor } from '../../../support/serving/api-address.ts'
import { irisSpec } from '../../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let server: Awaited<ReturnType<typeof listenFor>>
let version: string
let key: string
const tenure = (...words: string[]) => runCommand(commands, [...words, '--url', server.url])

beforeAll(async () => {
  fixture = await openServingFixture()
  version = await fixture.register(irisSpec('iris'))
  key = await fixture.key()
  api = await startApi(fixture)
  server = await listenFor(api)
})
beforeEach(() => void vi.stubEnv('TENURE_KEY', key))
afterAll(async () => {
  server.close()
  await api.stop()
  await fixture.close()
})

it('prints the address of a page that exists', async () => {
  expect((await tenure('open', '--phone')).out).toBe(`${server.url}/device\n`)
  expect((await tenure('open', 'iris', '--phone')).code).toBe(exitCodes.usage)
  expect(await tenure('open')).toEqual({ code: exitCodes.done, out: `${server.url}/\n`, err: '' })
  for (const [name, path] of [
    ['iris', '/models/iris'],
    [version, `/models/iris/versions/${version}`],
  ] as const) {
    const printed = { code: exitCodes.done, out: `${server.url}${path}\n`, err: '' }
    expect(await tenure('open', name, '--print')).toEqual(printed)
    expect((await api.request('GET', path, { key })).status).toBe(200)
  }
})

it('names what is similar to an unknown name', async () => {
  const near = await tenure('open', 'iri')
  expect(near.code).toBe(exitCodes.notFound)
  expect(near.err).toMatch(/There is no model.*iri\b/)
  expect(near.err).toContain(`Similar: iris, ${version}.`)
  expect((await tenure('open', 'nothing')).err).toContain(`See ${server.url}/search?q=nothing.`)
})

it.each([
  ['models', () => 'iris\n'],
  ['versions', () => `${version}\n`],
  ['releases', () => '\n'],
])('the completion has the %s', async (kind, expected) =>
  expect(await tenure('completion', kind)).toEqual({ code: exitCodes.done, out: expected(), err: '' }),
)
