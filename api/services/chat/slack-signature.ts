/** Verifies that a request comes from Slack: https://docs.slack.dev/authentication/verifying-requests-from-slack. */
import { createHmac, timingSafeEqual } from 'node:crypto'

export interface SlackRequest {
  body: Buffer
  timestamp: string | undefined
  signature: string | undefined
}

/** An older request is rejected, because it may be a replay. */
const windowMs = 300_000

/** Returns the name of the first secret that signed the request; undefined when none did. */
export function signerOfRequest(
  { body, timestamp, signature }: SlackRequest,
  secrets: readonly { name: string; secret: string }[],
  nowMs: number,
): string | undefined {
  if (timestamp === undefined || signature === undefined || !/^\d{1,12}$/.test(timestamp)) return undefined
  if (Math.abs(nowMs - Number(timestamp) * 1_000) > windowMs) return undefined
  const given = Buffer.from(signature)
  return secrets.find(({ secret }) => {
    const digest = createHmac('sha256', secret).update(`v0:${timestamp}:`).update(body).digest('hex')
    const expected = Buffer.from(`v0=${digest}`)
    return given.length === expected.length && timingSafeEqual(given, expected)
  })?.name
}
