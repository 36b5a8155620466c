/** Tests `tenure retrain` against a stub of the API: cancelling, and the metrics of a refused retraining. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { retrainCommand } from '../../../../cli/commands/lifecycle/retrain.ts'
import { retrainingsGroup } from '../../../../cli/commands/lifecycle/retrainings.ts'
import { judgeWorth, type GateCompression } from '../../../../domain/evaluation/compression.ts'
import { judgeFidelity } from '../../../../domain/evaluation/fidelity.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runCommand } from '../../../support/command-line.ts'

let server: Server
let url: string
let asked: { method: string | undefined; url: string; body: string }[]
let running: object[]
/** The open releases. */
let open: object[]
/** The response to a start, and the result of a queued start. */
let begun: object
let fate: object
/** The retraining in the first polls, before its end. */
let states: object[]
const id = 'retrain/iris/1'
const metric = {
  metric: 'accuracy',
  champion: null,
  challenger: 0.91,
  baseline: 0.33,
  delta: 0.58,
  low: 0.4,
  high: null,
}
const besideParent = { parent: 100, child: 50 }
const costs = { rowsPerSecond: besideParent, p99Us: besideParent }
const compression: GateCompression = {
  version: 'iris_v1.0.0',
  artifact: '',
  to: 'int8',
  bytes: { parent: 400_000, child: 100_000 },
  counts: {},
  fidelity: judgeFidelity({
    parent: [[0.1]],
    child: [[0.2]],
    version: { output: { kind: 'probability', positive: 'yes', threshold: 0.5 } },
    policy: { epsilon: 0.01, flips: 0.01, alpha: 0.05 },
  }),
  cost: costs,
  worth: judgeWorth(costs),
}
const answers: Record<string, object> = {
  [`/v1/retrainings/${encodeURIComponent(id)}`]: {
    id,
    stage: 'evaluate',
    outcome: 'insufficient',
    message: '171 rows, at least 1000 are needed',
    training_id: 'trn_1',
  },
  '/v1/trainings/trn_1': { curve: [] },
  '/v1/models/iris': { name: 'iris', definition_digest: 'sha256:of-another-file' },
  '/v1/evaluations/evl_1': {
    id: 'evl_1',
    verdict: 'insufficient',
    report: {
      needsPerson: true,
      reasons: [{ code: 'too_good', message: 'accuracy rose by 0.58' }],
      warnings: [{ code: 'rows_repeat', message: 'most test rows repeat' }],
      metrics: [
        { ...metric, verdict: 'reported', floor: 0.9, floorMet: true },
        { ...metric, metric: 'brier', verdict: 'reported', floor: 0.05, floorMet: false },
      ],
      compression,
      tests: [
        {
          name: 'a longer petal',
          kind: 'direction',
          challenger: { verdict: 'fail', message: 'lowers the score', rows: 9, failed: 2, examples: [] },
          champion: { verdict: 'pass', message: 'does not', rows: 9, failed: 0, examples: [] },
        },
      ],
    },
  },
}

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      const asking = { method: request.method, url: request.url ?? '', body }
      asked.push(asking)
      const isCancelled = asked.some((each) => each.url.endsWith('/cancel'))
      const answer = asking.url.startsWith('/v1/releases?')
        ? { releases: open }
        : asking.url.startsWith('/v1/retrainings?')
          ? { retrainings: running }
          : request.method === 'POST'
            ? begun
            : asking.url === '/v1/commands/cmd_1'
              ? asked.filter(({ url: each }) => each === asking.url).length > 1
                ? fate
                : { state: 'waiting' }
              : (asking.url.startsWith('/v1/retrainings/') && states.shift()) || {
                  ...answers[asking.url],
                  ...(isCancelled ? { outcome: 'cancelled', message: 'cancelled by ada' } : {}),
                }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
beforeEach(() => {
  asked = []
  running = []
  open = []
  states = []
  begun = { id, workflow_id: 'retrain/iris' }
})
afterAll(() => void server.close())

const retrain = (...words: string[]) =>
  runCommand([retrainCommand], ['retrain', 'iris', ...words, '--url', url])

const cancel = (...words: string[]) =>
  runCommand([retrainingsGroup], ['retrainings', 'cancel', ...words, '--url', url])

it('retrainings cancel cancels the running retraining with its reason, and waits for its end', async () => {
  running = [{ id: 'retrain/iris/0', outcome: 'released' }, { id }]
  const { code, out } = await cancel('iris', '--reason', 'the file was wrong')
  expect([code, out]).toEqual([exitCodes.done, expect.stringContaining('cancelled: cancelled by ada')])
  const { method, url: path, body } = asked[1]!
  expect([method, path, JSON.parse(body)]).toEqual([
    'POST',
    `/v1/retrainings/${encodeURIComponent(id)}/cancel`,
    { reason: 'the file was wrong' },
  ])
})

it('retrainings cancel is refused when no retraining runs', async () => {
  running = [{ id, outcome: 'released' }]
  const { code, err } = await cancel('iris')
  expect([code, err]).toEqual([exitCodes.usage, expect.stringContaining('No retraining of iris is running')])
  // A model that does not exist is told first.
  expect(asked.map(({ url: path }) => path)).toEqual([
    '/v1/retrainings?model=iris&limit=20',
    '/v1/models/iris',
  ])
})

it('retrain --watch prints the metrics and the id of the evaluation of a refused retraining', async () => {
  const { code, out } = await retrain('--watch', '--reason', 'a try')
  expect(code).toBe(exitCodes.otherwise)
  expect(out).toContain('no gate verdict: 171 rows, at least 1000 are needed')
  expect(out).toContain('Offline gates: no verdict (against floors, evl_1)')
  expect(out).toMatch(/accuracy.*0\.91.* 0\.9 met +passed\n/)
  expect(out).toMatch(/brier.* 0\.05 missed +failed\n/)
  expect(out).toContain('\n! accuracy rose by 0.58\n! most test rows repeat\n')
  expect(out).toMatch(
    /Compressed from iris_v1\.0\.0, int8: 400 → 100 KB[^]*rows a second +100 +50 +0\.50 ×\n/,
  )
  expect(out).toContain('not proven equal: mean distance 0.1 (limit 0.01)')
  expect(out).toMatch(/Behaviour tests[^]*a longer petal.*fail.*pass.*lowers the score/)
  expect(JSON.parse(asked[0]!.body)).toEqual({ reason: 'a try' })
})

it('retrain --watch says once that no worker polls the queue of the training', async () => {
  states = Array.from({ length: 2 }, () => ({ stage: 'train', waiting: 'no worker polls gpu. Start one.' }))
  const { code, err } = await retrain('--watch')
  expect(code).toBe(exitCodes.otherwise)
  expect(err.split('no worker polls gpu. Start one.')).toHaveLength(2)
})

it('retrain --watch shows the remedy of a failed retraining', async () => {
  states = [{ id, outcome: 'failed', message: 'roses.csv is not there', remedy: 'Correct the path.' }]
  const { code, out } = await retrain('--watch')
  expect([code, out]).toEqual([
    exitCodes.otherwise,
    expect.stringContaining('failed: roses.csv is not there\n      Correct the path.'),
  ])
})

it('retrain --watch ends with the command that shows the release', async () => {
  states = [{ id, model: 'iris', outcome: 'released', message: 'iris_v1.1.0 is being released' }]
  const { code, out } = await retrain('--watch')
  expect([code, out]).toEqual([
    exitCodes.done,
    expect.stringMatching(
      /release started: iris_v1\.1\.0 is being released\nFollow the release: `tenure releases show iris`\n$/,
    ),
  ])
})

it('retrain --watch ends with the command that approves a release that waits for it', async () => {
  states = [{ id, model: 'iris', outcome: 'released', message: 'iris_v1.1.0 is being released' }]
  open = [{ stage: 'awaiting_approval', why: 'Needs 1 approval by 2026-12-04T00:58:31.000Z.' }]
  const { out } = await retrain('--watch')
  expect(out).toContain(
    'Needs 1 approval by 2026-12-04 00:58:31. Approve it as another user: `tenure approve iris`',
  )
})

it('retrain says that the model file has changed since it was synced', async () => {
  const { code, out, err } = await retrain()
  expect([code, out]).toEqual([exitCodes.done, expect.stringContaining('Retraining iris')])
  expect(err).toContain('models/iris.ts has changed since it was synced')
})

it('retrain --watch follows a start that is queued for Temporal, once it is delivered', async () => {
  begun = { id: 'cmd_1', state: 'waiting', message: 'recorded' }
  fate = { state: 'delivered', message: 'started', started: { id } }
  const { code, out } = await retrain('--watch')
  expect(code).toBe(exitCodes.otherwise)
  expect(out).toMatch(/iris: recorded. Check it: `tenure commands show cmd_1`[^]*no gate verdict: 171 rows/)
})

it('retrain --watch ends with the reason when a queued start is refused', async () => {
  begun = { id: 'cmd_1', state: 'waiting', message: 'recorded' }
  fate = { state: 'refused', message: 'a retraining of iris runs already' }
  const { code, err } = await retrain('--watch')
  expect([code, err]).toEqual([
    exitCodes.refused,
    expect.stringContaining('a retraining of iris runs already'),
  ])
})
