/** Renders the hidden CSRF token of a form. */
import type { View } from '../page.ts'

/** A form with another session's token, or with none, is refused. */
export const TokenField = ({ token }: { token: string }): View => (
  <input type="hidden" name="token" value={token} />
)
