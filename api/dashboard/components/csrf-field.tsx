/** Renders the hidden CSRF token of a form. */
import type { PageElement } from '../page.ts'

/** Renders the hidden field. A form without the token of its session is refused. */
export const TokenField = ({ token }: { token: string }): PageElement => (
  <input type="hidden" name="token" value={token} />
)
