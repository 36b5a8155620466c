/** Tests that tracing costs a replica little, and prints the figures; `npm run bench -- interop` measures them at length. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { measureTracedReplicas } from '../../interop/tracing-cost.ts'
import { quantileOf } from '../../../../test/support/figures.ts'
import { irisSpec } from '../../../../test/support/serving/artifact.ts'
import { openServingFixture, type ServingFixture } from '../../../../test/support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../../../../test/support/serving/sign-versions.ts'
import { startCollector, type Collector } from '../../../../test/support/tracing/collector.ts'

let fixture: ServingFixture
let collector: Collector

beforeAll(async () => {
  fixture = await openServingFixture()
  await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
  collector = await startCollector()
})
afterAll(async () => {
  await collector?.stop()
  await fixture?.close()
})

it('replicas with a traced share of 1 % cost about as much as those without', async () => {
  const environment = () => ({
    DATABASE_URL: fixture.databaseUrl,
    TENURE_STATE: fixture.directory(),
    TENURE_ARTIFACTS: fixture.artifactRoot,
    TENURE_KEYS: keyPlacesOf(fixture.artifactRoot).keys,
    TENURE_PUBLIC_PREDICTIONS: 'on',
  })
  const sizes = { draws: 2, rounds: 5, calls: 2_000 }
  const { offUs, traced, again } = await measureTracedReplicas(environment, collector.environment, sizes)
  const told = (all: number[]): string => `× ${all.map((each) => each.toFixed(3)).join(', ')}`
  process.stdout.write(
    `off ${offUs.toFixed(1)} µs a call; with tracing ${told(traced)}; a second one without ${told(again)}; ${collector.spans.length} spans\n`,
  )
  expect(collector.spans.length).toBeGreaterThan(0)
  // A larger difference than between two replicas of one kind is a defect.
  expect(quantileOf(traced, 0)).toBeLessThan(1.2)
})
