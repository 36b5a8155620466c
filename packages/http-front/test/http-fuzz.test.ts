/**
 * Compares the fast path, the server without it and Node's own server on mutated requests. `TENURE_TEST_CONNECTIONS=200000 npx vitest run packages/http-front/test/http-fuzz.test.ts` sends 200,000 connections
 * (TENURE_TEST_CONNECTIONS); TENURE_TEST_SEED repeats a run.
 */
import { env } from 'node:process'
import { expect, it } from 'vitest'
import { fuzz } from './support/http-fuzz.ts'

const connections = Number(env['TENURE_TEST_CONNECTIONS'] ?? 20_000)
const perSeed = 20_000
const first = Number(env['TENURE_TEST_SEED'] ?? Date.now() % 1_000_000)
const seeds = Array.from({ length: Math.ceil(connections / perSeed) }, (_, at) => first + at)

it.each(seeds)(
  'reads from 20,000 mutated connections the requests that Node reads, fast path on and off (TENURE_TEST_SEED=%i)',
  async (seed) => {
    const { differences, requests, byFastPath, lostBeforeRefusal } = await fuzz(seed, perSeed)
    expect(differences).toEqual([])
    expect(requests).toBeGreaterThan(10_000)
    expect(byFastPath).toBeGreaterThan(1_000)
    // Node drops unanswered requests when it finds an error. A larger class of differences would hide here.
    expect(lostBeforeRefusal).toBeLessThan(600)
  },
)
