/**
 * Tests that a stream loses and doubles no record through kills of the replica and of the broker; `npm run bench -- streams` does it twenty
 * times.
 */
import { describe, expect, it } from 'vitest'
import { whyNoKafka } from '../support/streams/kafka-broker.ts'

const missing = whyNoKafka()

describe.skipIf(missing !== undefined)(
  missing === undefined ? 'a stream on Kafka' : `a stream on Kafka (skipped: ${missing})`,
  () => {
    it('has one answer for each record, and one row in the durable log, through kills of the replica and of the broker', async () => {
      const [{ killStream }, { withScene }] = await Promise.all([
        import('../support/streams/kills.ts'),
        import('../support/streams/scene.ts'),
      ])
      await withScene(async (scene) => {
        const { consumed, answered, dead, sources, rows, ids } = await killStream(scene, 4, 2_000)
        expect({ sources, both: answered + dead, dead }).toEqual({
          sources: consumed,
          both: consumed,
          dead: 80,
        })
        expect([rows, ids]).toEqual([answered, answered])
      })
    })
  },
)
