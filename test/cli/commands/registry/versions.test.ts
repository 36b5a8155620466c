/** Tests that `tenure versions`, against a stub of the API, shows the primary metric and says why a version was not released. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { expect, it } from 'vitest'
import { versionsGroup } from '../../../../cli/commands/registry/versions.ts'
import { loadText, type LoadTest } from '../../../../domain/model/load-test.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runCommand } from '../../../support/command-line.ts'

/** Starts an API that answers every request with a body. */
async function answering(body: string) {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(body)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

it('versions shows the primary metric, and below the table why a version was not released', async () => {
  const version = (minor: number, more: object) => ({
    version: `iris_v1.${minor}.0`,
    model: 'iris',
    status: 'registered',
    artifact_digest: 'sha256:0',
    created_by: 'ada',
    created_at: '2026-01-01T00:00:00Z',
    ...more,
  })
  const metrics = { brier: 0.2, profit: 0.1, logLoss: 0.6, auc: 0.7 }
  const versions = [version(1, { not_released: 'the champion has changed', metrics }), version(0, {})]
  const { server, url } = await answering(JSON.stringify({ versions }))
  const { code, out } = await runCommand([versionsGroup], ['versions', 'list', 'iris', '--url', url])
  server.close()
  expect(code).toBe(exitCodes.done)
  expect(out.match(/was not released.*/g)).toEqual(['was not released: the champion has changed'])
  expect(out).toContain('iris_v1.1.0 was not released')
  // Three of the metrics fit, the primary one first.
  expect(out).toMatch(/AUC +PROFIT +BRIER/i)
})

it('a search for the text of a condition that finds nothing names the option for metrics', async () => {
  const { server, url } = await answering('{"versions":[]}')
  const search = async (...words: string[]) =>
    (await runCommand([versionsGroup], ['versions', 'search', ...words, '--url', url])).out
  const outs = [await search('auc>0.7'), await search('dropout'), await search('--metric', 'auc>0.7')]
  server.close()
  expect(outs[0]).toContain('`tenure versions search --metric "auc>0.7"`')
  expect(outs.slice(1)).toEqual(['No versions match.\n', 'No versions match.\n'])
})

it.each([
  ['holds', {}, exitCodes.done, /^iris_v1.0.0 holds 90 requests\/s/],
  ['does not hold', { failed: 1 }, exitCodes.otherwise, /^iris_v1.0.0 does not hold 90 requests\/s/],
  [
    'ended without a result',
    undefined,
    exitCodes.otherwise,
    /^The load test of iris_v1.0.0 ended without a result/,
  ],
])('a load test that %s says so, and in its exit code', async (_name, change, expected, words) => {
  const run = {
    rate: 90,
    seconds: 1,
    due: 90,
    refused: 0,
    failed: 0,
    wrong: 0,
    unanswered: 0,
    p50Ms: 1,
    p99Ms: 2,
  }
  const report = { rate: 90, seconds: 1, limitMs: 200, run: { ...run, busyShare: 0, ...change } }
  const machine = { name: 'm', processors: 2, processor: 'p' }
  const last = {
    id: 'ldt_1',
    requestedBy: 'o',
    at: 'now',
    report: { ...report, machine, requests: 1, source: 'log' },
  }
  const answer = {
    id: 'ldt_1',
    version: 'iris_v1.0.0',
    rate: 90,
    running: false,
    ...(change !== undefined && { last, text: loadText(last as LoadTest) }),
  }
  const { server, url } = await answering(JSON.stringify(answer))
  const line = ['versions', 'load-test', 'iris@latest', '--rate', '90', '--seconds', '1', '--url', url]
  const { code, out } = await runCommand([versionsGroup], line)
  server.close()
  expect(code).toBe(expected)
  expect(out).toMatch(words)
})

it('the card of a model without a champion says that it has none', async () => {
  const { server, url } = await answering('{"name":"iris","first_step":"Train it."}')
  const { code, err } = await runCommand([versionsGroup], ['versions', 'card', 'iris', '--url', url])
  server.close()
  expect(code).toBe(exitCodes.notFound)
  expect(err).toContain('iris has no champion yet (version_not_found)\n      Train it.')
})

it('the figures of a list have as many decimals, and its times their zone', async () => {
  const version = {
    version: 'iris_v1.0.0',
    status: 'champion',
    created_at: '2026-11-27T00:57:15Z',
    metrics: { accuracy: 0.803, brier: 0.1505 },
  }
  const { server, url } = await answering(JSON.stringify({ versions: [version] }))
  const { out } = await runCommand([versionsGroup], ['versions', 'list', '--url', url])
  server.close()
  expect(out).toMatch(/0\.8030 +0\.1505/)
  expect(out).toMatch(/created.*known good.*rolled back/)
  expect(out).toContain('\nTimes are in UTC\n')
})
