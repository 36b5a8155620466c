/** Tests `tenure explain` against a stub of the API. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { explainCommand } from '../../../../cli/commands/registry/explain.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import type { ExplainedPredictions } from '../../../../domain/explanation/explained-predictions.ts'
import { runCommand } from '../../../support/command-line.ts'

let server: Server
let url: string
const asked: { url?: string; body: unknown }[] = []
const sampled: ExplainedPredictions = {
  model: 'iris',
  version: 'iris_v1.0.0',
  method: 'sampled',
  scale: 'answer',
  background: { rows: 8, from: 'golden rows' },
  explanations: [
    {
      of: 'setosa',
      answer: 0.9,
      base: 0.4,
      score: 0.9,
      attributions: [
        { feature: 'petalLength', value: 1.4, attribution: 0.6, error: 0.01 },
        { feature: 'colour', value: null, attribution: -0.1, error: 0 },
      ],
    },
  ],
}
let answer = sampled

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      asked.push({ url: request.url, body: JSON.parse(body) })
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())

const explain = (...words: string[]) => runCommand([explainCommand], ['explain', ...words, '--url', url])

it('explain sends the row, and prints what each feature adds with its error', async () => {
  const { code, out } = await explain('iris', '{"petalLength": 1.4, "colour": null}', '--of', 'setosa')
  expect(code).toBe(exitCodes.done)
  expect(asked.at(-1)).toEqual({
    url: '/v1/models/iris/explain',
    body: { instances: [{ petalLength: 1.4, colour: null }], of: 'setosa' },
  })
  expect(out).toContain('iris_v1.0.0: setosa: 0.9, 0.4 is the mean of 8 rows (golden rows); sampled')
  expect(out).toMatch(/petalLength +1\.4 +\+0\.6 +0\.01/)
  expect(out).toMatch(/colour +missing +−0\.1 +0/)
})

it('explain of trees says that the sum is that before the link function', async () => {
  answer = {
    ...sampled,
    method: 'tree_shap',
    scale: 'raw',
    explanations: [
      {
        answer: 0.044,
        base: -0.57,
        score: -3.07,
        attributions: [{ feature: 'size', value: 4, attribution: -2.5 }],
      },
    ],
  }
  const { out } = await explain('roses', '{"size": 4}', '--model-version', 'roses_v1.1.0', '--of', '0.9')
  expect(asked.at(-1)?.body).toEqual({ instances: [{ size: 4 }], version: 'roses_v1.1.0', of: 0.9 })
  expect(out).toContain('-3.07 before the link function (the answer is 0.044)')
  expect(out).not.toContain('±')
})

it.each(['[1]', 'size=3', '{"size": 3'])('explain refuses %s, which is not a row', async (row) => {
  const { code, err } = await explain('iris', row)
  expect([code, err]).toEqual([exitCodes.usage, expect.stringContaining('must be a JSON object') as unknown])
})
