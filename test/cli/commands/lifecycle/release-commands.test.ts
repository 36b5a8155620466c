/** Tests that a command names the stage that was read, if it answers the release's question in that stage. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { releaseCommands, signalCommand } from '../../../../cli/commands/lifecycle/release-commands.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runCommand } from '../../../support/command-line.ts'

let server: Server
let url: string
let ordered: object
let asked: string[] = []
beforeAll(async () => {
  const shown = {
    id: 'rel_1',
    version: 'iris_v2',
    stage: 'awaiting_approval',
    artifact_digest: 'sha256:a',
    report_digest: 'sha256:r',
  }
  server = createServer((request, response) => {
    const isOrder = request.method === 'POST'
    asked.push(request.url ?? '')
    let sent = ''
    request.on('data', (chunk: Buffer) => (sent += chunk.toString()))
    request.on('end', () => {
      if (isOrder) ordered = JSON.parse(sent) as object
      const body = request.url?.endsWith('/sign')
        ? { namespace: 'prod', workflow_id: 'release/iris', signal: 'approve', payload: { id: 'c_1' } }
        : isOrder
          ? { accepted: true, message: 'done', stage: shown.stage }
          : shown
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())

it.each(['approve', 'reject', 'resume', 'promote-now'])('%s is for the stage that was read', async (verb) => {
  const order = [verb, 'rel_1', '--reason', 'checked', '--url', url]
  expect((await runCommand(releaseCommands, order)).code).toBe(0)
  expect(ordered).toMatchObject({ stage: 'awaiting_approval', artifact_digest: 'sha256:a' })
})

it.each(['reject', 'promote-now'])('%s without a reason is sent nowhere', async (verb) => {
  ordered = {}
  for (const words of [[], ['--reason', ' ']]) {
    const { code, err } = await runCommand(releaseCommands, [verb, 'rel_1', ...words, '--url', url])
    expect([code, err]).toEqual([exitCodes.usage, expect.stringContaining('requires a reason; use --reason')])
  }
  expect(ordered).toEqual({})
})

it('promote-now of a refused retraining is for the artifact and the report that the gate refused', async () => {
  const run = '0a1b2c3d-0000-4000-8000-000000000000'
  asked = []
  const order = ['promote-now', `retrain/iris/${run}`, '--reason', 'nonsense', '--url', url]
  const { code, out } = await runCommand(releaseCommands, order)
  expect([code, out]).toEqual([0, expect.stringContaining('done')])
  expect(ordered).toEqual({
    reason: 'nonsense',
    artifact_digest: 'sha256:a',
    evaluation_digest: 'sha256:r',
  })
  expect(asked).toEqual([
    `/v1/evaluations/evl_${run.replaceAll('-', '')}`,
    `/v1/releases/retrain%2Firis%2F${run}/promote-now`,
  ])
})

it('a script names the stage, so that a job that runs again passes no other one', async () => {
  const run = (named: string) =>
    runCommand(releaseCommands, ['approve', named, '--stage', 'awaiting_decision', '--url', url])
  expect((await run('rel_1')).code).toBe(0)
  expect(ordered).toMatchObject({ stage: 'awaiting_decision' })
  expect((await run('que_1')).err).toContain('--stage is for a release')
})

it.each(['pause', 'abort'])('%s is for any stage', async (verb) => {
  expect((await runCommand(releaseCommands, [verb, 'rel_1', '--url', url])).code).toBe(0)
  expect(ordered).not.toHaveProperty('stage')
})

it('the line for the temporal command names the namespace of the release', async () => {
  const { code, out } = await runCommand([signalCommand], ['sign', 'approve', 'rel_1', '--url', url])
  expect(code).toBe(0)
  expect(out).toContain(` --namespace prod --workflow-id release/iris --name approve --input '{"id":"c_1"}'`)
})
