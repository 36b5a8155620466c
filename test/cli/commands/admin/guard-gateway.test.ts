/** Tests what `tenure guard-gateway` does with a gateway that answers badly. A real API server of Kubernetes is in test/interop. */
import { mkdtempSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { guardOnce, openNamedFile } from '../../../../cli/commands/admin/guard-gateway.ts'
import { emptyMemory, type ExposureAnswer } from '../../../../domain/serving/gateway-guard.ts'
import {
  traitsOf,
  type Gateway,
  type GatewayOrder,
  type GatewayServer,
} from '../../../../domain/serving/gateway.ts'

const [champion, candidate] = ['m_v1.0.0', 'm_v1.1.0']
const traffic = { gateway: 'kserve', namespace: 'n', name: 'm', metrics: {} as never } as const

/** A stand-in of a gateway, and the looks of a guard that loses a version after one check. */
function guarded(weights: Record<string, number> = { [champion]: 95, [candidate]: 5 }) {
  const fault: { read?: string; set?: 'refused' | 'slow' | 'lost' } = {}
  const orders: GatewayOrder[] = []
  const state = { weights, mayServe: true }
  const servers = () =>
    Object.entries(state.weights).map(([name, weight]): GatewayServer => ({
      name,
      weight,
      isUp: true,
      lease: 'absent',
      attempts: 0,
      requests: 0,
      failures: 0,
    }))
  const gateway: Gateway = {
    read: () =>
      fault.read === undefined ? Promise.resolve(servers()) : Promise.reject(new Error(fault.read)),
    set(order) {
      orders.push(order)
      if (fault.set === 'refused') return Promise.reject(new Error('409'))
      if (fault.set === 'slow') return Promise.resolve(servers())
      for (const name of Object.keys(state.weights)) state.weights[name] = order.weights[name] ?? 0
      return fault.set === 'lost' ? Promise.reject(new Error('no answer')) : Promise.resolve(servers())
    },
  }
  let look: Parameters<typeof guardOnce>[1] = { memory: emptyMemory, servers: [], text: '' }
  const ask = (): Promise<ExposureAnswer> =>
    Promise.resolve(
      state.mayServe ? { mayServe: true, proven: champion } : { mayServe: false, reason: 'no answer' },
    )
  const check = async () => {
    look = await guardOnce(gateway, look, {
      model: 'm',
      place: 'InferenceService n/m',
      traits: traitsOf(traffic),
      checks: 2,
      ask,
    })
    return look.text
  }
  return { state, fault, orders, check }
}

it('sets an order again until it reads it back', async () => {
  const { state, fault, orders, check } = guarded()
  expect(await check()).toBe(`${candidate} may serve`)
  state.mayServe = false
  await check()
  expect(orders).toEqual([])
  fault.set = 'refused'
  expect(await check()).toMatch(/could not be given the whole share, and is given it again: 409$/)
  fault.set = 'slow'
  expect(await check()).toMatch(/was given the whole share, which is not in force yet$/)
  fault.set = undefined
  expect(await check()).toMatch(/m_v1\.0\.0 now has the whole share$/)
  expect(orders).toHaveLength(3)
  expect(await check()).toBe(`no version but ${champion} has a share`)
  expect(orders).toHaveLength(3)
  expect(state.weights).toEqual({ [champion]: 100, [candidate]: 0 })
})

it('reads back an order whose answer was lost', async () => {
  const { state, fault, orders, check } = guarded()
  await check()
  state.mayServe = false
  fault.set = 'lost'
  await check()
  expect(await check()).toMatch(/no answer$/)
  expect(await check()).toBe(`no version but ${champion} has a share`)
  expect(orders).toHaveLength(1)
})

it('goes on asking while the gateway cannot be read, and sets it once it can', async () => {
  const { state, fault, orders, check } = guarded()
  await check()
  state.mayServe = false
  fault.read = 'connection refused'
  await check()
  expect(await check()).toMatch(/^the gateway .* cannot be read: connection refused; for 2 checks no replica/)
  expect(orders).toEqual([])
  fault.read = undefined
  expect(await check()).toMatch(/now has the whole share$/)
})

it('changes nothing where the known good version has no server', async () => {
  const { state, orders, check } = guarded({ [candidate]: 100 })
  await check()
  state.mayServe = false
  await check()
  expect(await check()).toMatch(/has no server named m_v1\.0\.0: add it, so nothing is changed$/)
  expect(orders).toEqual([])
})

describe('the file in which a guard keeps the known good version', () => {
  const named = { proven: champion, weights: { [champion]: 95, [candidate]: 5 } }
  const placeOf = () => {
    const folder = mkdtempSync(join(tmpdir(), 'tenure-guard-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    return join(folder, 'guards', 'm.json')
  }
  it('is read by the next one, and is whole at each moment', () => {
    const file = placeOf()
    const first = openNamedFile(file, 'm')
    expect(first.found).toBeUndefined()
    expect(first.keep(undefined)).toBeUndefined()
    expect(readdirSync(dirname(file))).toEqual([])
    expect(first.keep(named)).toBeUndefined()
    expect(readdirSync(dirname(file))).toEqual(['m.json'])
    const { found, keep } = openNamedFile(file, 'm')
    expect(found).toEqual(named)
    // It is not written again at each check.
    rmSync(file)
    expect(keep(named)).toBeUndefined()
    expect(readdirSync(dirname(file))).toEqual([])
    expect(keep({ ...named, weights: { [champion]: 100 } })).toBeUndefined()
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ ...named, weights: { [champion]: 100 } })
  })
  it.each<[string, string | undefined, RegExp]>([
    ['half a file', JSON.stringify(named).slice(0, -9), /is not one that a guard has written/],
    ...[
      'null',
      '7',
      '{"proven": 7, "weights": {}}',
      '{"proven": "m_v1.0.0", "weights": null}',
      '{"proven": "m_v1.0.0"}',
    ].map(
      (text) =>
        [`no file of a guard (${text})`, text, /is not one that a guard has written/] as [
          string,
          string,
          RegExp,
        ],
    ),
    [
      'one with other weights than numbers',
      JSON.stringify({ ...named, weights: { [champion]: 'all' } }),
      /is not one that a guard has written/,
    ],
    [
      'that of another model',
      JSON.stringify({ ...named, proven: 'roses_v1.0.0' }),
      /names roses_v1\.0\.0, .* version of m$/,
    ],
    [
      'one with a version of another model',
      JSON.stringify({ ...named, weights: { 'roses_v1.0.0': 5 } }),
      /names roses_v1\.0\.0, .* version of m$/,
    ],
    ['a folder', undefined, /cannot be read: EISDIR/],
  ])('is refused where it is %s, with what to do', (_, text, detail) => {
    const file = placeOf()
    mkdirSync(text === undefined ? file : dirname(file), { recursive: true })
    if (text !== undefined) writeFileSync(file, text)
    const problem = {
      detail: expect.stringMatching(detail),
      remedy: expect.stringMatching(/^Name another file with --file, or delete/),
    }
    let thrown: unknown
    try {
      openNamedFile(file, 'm')
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ problem })
  })
  it('is written at a later check where it cannot be written', () => {
    const file = placeOf()
    const { keep } = openNamedFile(file, 'm')
    rmSync(dirname(file), { recursive: true })
    expect(keep(named)).toMatch(/known good version cannot be kept in .*ENOENT/)
    mkdirSync(dirname(file))
    expect(keep(named)).toBeUndefined()
    expect(openNamedFile(file, 'm').found).toEqual(named)
  })
})
