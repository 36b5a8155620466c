/** Tests that a prediction over gRPC costs the replica a bounded multiple of one over HTTP, and prints the figures. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { measureGrpc, wideSpec } from '../../interop/grpc-cost.ts'
import { openServingFixture, type ServingFixture } from '../../../../test/support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../../../../test/support/serving/sign-versions.ts'

let fixture: ServingFixture

beforeAll(async () => {
  fixture = await openServingFixture()
  await fixture.route('wide', { proven: await fixture.register(wideSpec()) })
})
afterAll(async () => {
  await fixture?.close()
})

it('a call costs a bounded multiple of one over HTTP', async () => {
  const environment = {
    DATABASE_URL: fixture.databaseUrl,
    TENURE_STATE: fixture.directory(),
    TENURE_ARTIFACTS: fixture.artifactRoot,
    TENURE_KEYS: keyPlacesOf(fixture.artifactRoot).keys,
    TENURE_PUBLIC_PREDICTIONS: 'on',
  }
  for (const { rows, httpUs, grpcUs, ratio } of await measureGrpc(environment, { 1: 4_000, 100: 1_000 }, 5)) {
    process.stdout.write(
      `${rows} × 32: http ${httpUs.toFixed(0)} µs, grpc ${grpcUs.toFixed(0)} µs, ${ratio.toFixed(2)} ×\n`,
    )
    // Far above the measured value: only a change of magnitude fails.
    expect(ratio).toBeLessThan(12)
  }
})
