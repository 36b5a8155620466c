/** Tests reviews on a real replica: marked answers wait for a review or an outcome, and no judge reads reviews. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { reviewsPage } from '../../../api/dashboard/pages/model/reviews.tsx'
import type { ReviewQueue } from '../../../api/services/review/review-queue.ts'
import { listAnswered } from '../../../store/monitoring/matured-outcomes.ts'
import { irisSpec, type ArtifactSpec } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  request,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

const classes = ['setosa', 'versicolor', 'virginica']
/** A band that contains every answer. */
const output = { kind: 'classes', classes, review: { below: 1 } } as const
const spec: ArtifactSpec = { ...irisSpec('unsure'), output }
const path = '/v1/models/unsure/reviews'

let fixture: ServingFixture
let api: TestApi
const keys = {} as Record<'labeller' | 'viewer' | 'operator' | 'predictor' | 'elsewhere', string>
let version: string
let ids: string[]

interface Queue {
  waiting: { prediction_id: string; answer: string; row: object }[]
  strata: { band: { predictions: number; known: number; right: number } }
  estimate: { accuracy: number | null; pooled: number | null }
}
const as = (key: string) => ({ headers: { authorization: `Bearer ${key}` } })
const queue = async () => (await api.request('GET', path, as(keys.viewer))).json as unknown as Queue
const say = (reviews: object[], key = keys.labeller) =>
  api.request('POST', path, { ...as(key), body: { reviews } })

beforeAll(async () => {
  fixture = await openServingFixture()
  version = await fixture.register(spec)
  await fixture.route('unsure', { proven: version })
  await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
  await fixture.store.pool.query(
    `update models set definition = jsonb_set(definition, '{label,output}', $1) where name = 'unsure'`,
    [JSON.stringify(output)],
  )
  await fixture.store.pool.query(`update versions set manifest = $1 where version = $2`, [
    JSON.stringify({ output, preprocessing: spec.preprocessing }),
    version,
  ])
  keys.labeller = await fixture.key({ role: 'labeller' })
  keys.viewer = await fixture.key({ role: 'viewer' })
  keys.predictor = await fixture.key({ role: 'predictor' })
  keys.operator = await fixture.key({ role: 'operator' })
  keys.elsewhere = await fixture.key({ role: 'labeller', models: ['iris'] })
  api = await startApi(fixture)
  for (const model of ['unsure', 'iris'])
    await until(() => api.serving.routing.find(model) !== undefined, `${model}: ${api.troubles.join('; ')}`)
  const answers = Array.from({ length: 4 }, () => api.ask('unsure', request()).predictions[0]!)
  expect(answers.every((each) => (each as { review?: boolean }).review === true)).toBe(true)
  ids = answers.map(({ id }) => id)
  await api.serving.log.flush()
  await until(async () => api.serving.log.counts().waiting === 0, 'the log')
})
afterAll(async () => {
  await api?.stop()
  await fixture?.close()
})

it('an answer outside of a band has no mark', () =>
  expect(api.ask('iris', request()).predictions[0]).not.toHaveProperty('review'))

describe('the review queue', () => {
  it('lists marked answers with their rows, the oldest first, without an estimate yet', async () => {
    const { waiting, estimate } = await queue()
    expect(waiting.map((each) => each.prediction_id).toSorted()).toEqual(ids.toSorted())
    expect(classes).toContain(waiting[0]!.answer)
    expect(waiting[0]!.row).toMatchObject({ sepalLength: expect.any(Number) as number })
    expect(estimate).toMatchObject({ accuracy: null, pooled: null })
  })

  it('removes an answer after a review, which counts as truth in the band, but not as an outcome for the judges', async () => {
    const [first] = (await queue()).waiting
    const review = { prediction_id: first!.prediction_id, value: first!.answer }
    expect((await say([review])).json).toEqual({ received: 1, stored: 1 })
    expect((await say([review])).json).toEqual({ received: 1, stored: 0 })
    const { waiting, strata, estimate } = await queue()
    expect(waiting).toHaveLength(3)
    expect(strata.band).toEqual({ predictions: 4, known: 1, right: 1 })
    expect(estimate).toMatchObject({ accuracy: 1, pooled: 1 })
    const now = Date.now()
    const span = { model: 'unsure', version, fromMs: now - 3_600_000, toMs: now + 3_600_000, width: 3 }
    expect((await listAnswered(fixture.store, span)).labels).toEqual([])
  })

  it('removes an answer after an outcome, which outranks a review', async () => {
    const [second] = (await queue()).waiting
    const wrong = classes.find((name) => name !== second!.answer)!
    await say([{ prediction_id: second!.prediction_id, value: second!.answer }])
    const outcomes = [
      { prediction_id: second!.prediction_id, value: wrong, observed_at: new Date().toISOString() },
    ]
    const sent = await api.request('POST', '/v1/outcomes', { ...as(keys.labeller), body: { outcomes } })
    expect(sent.status).toBe(200)
    expect((await queue()).strata.band).toEqual({ predictions: 4, known: 2, right: 1 })
  })
})

describe('the review page', () => {
  const page = '/models/unsure/reviews'
  const browser = { accept: 'text/html', host: 'localhost' }
  const posted = (at: string, form: Record<string, string>, cookie = '') =>
    api.request('POST', at, {
      body: new URLSearchParams(form).toString(),
      headers: { ...browser, cookie, 'content-type': 'application/x-www-form-urlencoded' },
    })
  async function signedIn(role: 'operator' | 'viewer') {
    const signed = await posted('/sign-in', { key: keys[role] })
    const cookie = signed.headers.get('set-cookie')!.split(';')[0]!
    return {
      cookie,
      read: async () => (await api.request('GET', page, { headers: { ...browser, cookie } })).text,
    }
  }

  it('accepts the answer of an operator and shows the weighted accuracy', async () => {
    const { cookie, read } = await signedIn('operator')
    const before = await read()
    expect(before).toContain('a largest probability below 1')
    const token = /name="token" value="([^"]+)"/.exec(before)![1]!
    const prediction = /name="prediction" value="([^"]+)"/.exec(before)![1]!
    const { status, headers } = await posted(page, { token, prediction, value: 'setosa' }, cookie)
    expect([status, headers.get('location')]).toEqual([303, page])
    const after = await read()
    expect(after).not.toContain(prediction)
    expect(after).toContain('each part weighed by its answers')
    expect((await posted(page, { token, value: 'setosa' }, cookie)).status).toBe(400)
  })

  it('of a probability has the label beside its probability, and a button named by its row', () => {
    const at = '2026-03-01T12:00:00.000Z'
    const waiting = [{ predictionId: ids[0]!, at, version, row: { hour: 7 }, outputs: [0.42], answer: false }]
    const none = { predictions: 0, known: 0, right: 0 }
    const asked = {
      model: 'delays',
      band: { from: 0.4, to: 0.6 },
      positive: 'late',
      classes: [],
      waiting,
      strata: { band: none, rest: none },
      estimate: { accuracy: null, error: null, pooled: null },
    } satisfies ReviewQueue
    const html = String(reviewsPage.view(asked, { actor: { role: 'operator' }, token: 'x' } as never))
    expect(html).toContain('a probability of late from 0.4 to 0.6')
    expect(html).toMatch(/>not late<\/td>.*Probability of late">0\.42</s)
    expect(html).toContain(`value="=true" aria-label="late, answered ${at}">late<`)
    expect(html).toContain(`value="=false" aria-label="not late, answered ${at}">not late<`)
  })

  it('has no buttons for a viewer', async () =>
    expect(await (await signedIn('viewer')).read()).not.toContain('name="prediction"'))
})

it.each([
  [
    'of a class that there is not',
    () => ({ prediction_id: ids[2], value: 'tulip' }),
    'not one of the classes',
  ],
  [
    'of a prediction that is not in the log',
    () => ({ prediction_id: '01890a5d-ac96-774b-bcce-b302099a8057', value: 'setosa' }),
    'has no prediction',
  ],
])('a review %s is refused', async (_name, review, message) => {
  const { status, text } = await say([review()])
  expect(status).toBeGreaterThanOrEqual(400)
  expect(text).toContain(message)
})

it('a prediction with two reviews in one request is refused', async () => {
  const review = { prediction_id: ids[2], value: 'setosa' }
  expect((await say([review, review])).text).toContain('has two reviews')
})

it('a key of another model, and one that only reads, store no review', async () => {
  const review = { prediction_id: ids[2], value: 'setosa' }
  expect((await say([review], keys.elsewhere)).status).toBe(403)
  expect((await say([review], keys.viewer)).status).toBe(403)
})

it('an answer of the Open Inference Protocol has the mark as an output, where the model has a band', async () => {
  const inputs = [{ name: 'x', shape: [2, 4], datatype: 'FP64', data: [5.1, 3.5, 1.4, 0.2, 6, 3, 4, 1] }]
  const infer = async (model: string, outputs: { name: string }[]) =>
    (
      await api.request('POST', `/v2/models/${model}/infer`, {
        ...as(keys.predictor),
        body: { inputs, outputs },
      })
    ).json
  expect(await infer('unsure', [{ name: 'review' }])).toMatchObject({
    outputs: [{ name: 'review', datatype: 'BOOL', shape: [2], data: [true, true] }],
  })
  expect(JSON.stringify(await infer('iris', [{ name: 'review' }]))).toMatch(
    /no output .*review.*; there are probabilities, label"/,
  )
})
