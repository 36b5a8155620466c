/** Shows a code with which the signed-in user signs in on another device, instead of typing a key there. */
import { DomainError } from '../../../../domain/errors.ts'
import { Time } from '../../components/elements.tsx'
import { TokenField } from '../../components/csrf-field.tsx'
import { definePage, type FormHandler, type PageElement } from '../../page.ts'
import { renderPage } from '../../render-page.tsx'

export const devicePage = definePage({
  load: () => Promise.resolve(undefined),
  title: () => 'Sign in on another device',
  view: (_data, { token }) => (
    <section class="narrow">
      <h1>Sign in on another device</h1>
      <p>
        A code signs in there with your key, once, within two minutes. That session lasts as long as this one.
      </p>
      {token === undefined ? (
        <p class="notice warn">This key has no session: sign in to make a code.</p>
      ) : (
        <form method="post" action="/device">
          <TokenField token={token} />
          <button>Show a code</button>
        </form>
      )}
    </section>
  ),
})

export const createCode: FormHandler = async (deps, ask, places) => {
  const { session } = ask
  const made = session && (await deps.authentication.codes.create(session))
  if (made === undefined) throw new DomainError('unauthenticated', 'this key has no session, or is revoked')
  const place = places.find(({ path }) => path === '/device')!
  return renderPage(
    deps,
    { place, places, notice: <Code {...made} link={`/sign-in#${made.code}`} /> },
    { ...ask, target: '/device' },
  )
}

const Code = ({ code, expiresAt, link }: { code: string; expiresAt: string; link: string }): PageElement => (
  <section class="notice good" role="status" aria-label="Code">
    <p class="code">{code}</p>
    <p>
      Open <a href={link}>/sign-in</a> of this address on the other device and type the code, or send yourself
      the link. Valid until <Time at={expiresAt} shows="clock" />.
    </p>
  </section>
)
