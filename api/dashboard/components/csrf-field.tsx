/** Renders the hidden CSRF token of a form. */
import type { PageElement } from '../page.ts'

/** A form with another session's token, or with none, is refused. */
export const TokenField = ({ token }: { token: string }): PageElement => (
  <input type="hidden" name="token" value={token} />
)
