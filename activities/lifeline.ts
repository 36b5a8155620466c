/**
 * Whether those who could stop an activity can still reach it. A watch goes on by itself while Temporal is away, and
 * nobody could order its candidate back then; so a candidate is exposed only while Temporal answers.
 */
import { Context } from '@temporalio/activity'

/** An answer counts for so long, and is waited for no longer than this. */
const freshMs = 900

export interface Lifeline {
  /** Whether Temporal has answered within the last moment; asks it when it has not been asked. */
  holds(): Promise<boolean>
}

export function createLifeline(ask: () => Promise<unknown> = askTemporal): Lifeline {
  let answeredAt = -Infinity
  return {
    async holds() {
      if (performance.now() - answeredAt <= freshMs) return true
      const askedAt = performance.now()
      const answered = await Promise.race([
        ask().then(
          () => true,
          () => false,
        ),
        new Promise<false>((resolve) => setTimeout(resolve, freshMs, false).unref()),
      ])
      if (answered) answeredAt = askedAt
      return answered
    },
  }
}

function askTemporal(): Promise<unknown> {
  const { client } = Context.current()
  return client.workflowService.getSystemInfo({})
}
