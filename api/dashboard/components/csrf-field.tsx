/** What every form carries. */
import type { View } from '../page.ts'

/** Without it a form is refused: it shows that the form stands on a page of this session. */
export const TokenField = ({ token }: { token: string }): View => (
  <input type="hidden" name="token" value={token} />
)
