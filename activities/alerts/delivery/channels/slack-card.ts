/** Defines the value of a Slack button: the release, and the digests of what the card shows. */
import type { ReleaseDigests } from '../../../../domain/release/state.ts'

export interface SlackCard {
  release: string
  digests: ReleaseDigests
}

export const slackActions = [
  { command: 'approve', label: 'Approve', style: 'primary' },
  { command: 'reject', label: 'Reject', style: 'danger' },
] as const
