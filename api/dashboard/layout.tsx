/** Renders the frame of every page: head, navigation, signed-in user and main content. */
import type { Child } from 'hono/jsx'
import { zoneName } from '../../domain/zoned-time.ts'
import type { Actor } from '../auth/authentication.ts'
import type { AssetName } from './assets.ts'
import type { PageElement } from './page.ts'
import { TokenField } from './components/csrf-field.tsx'

export interface NavItem {
  path: string
  word: string
}

export interface PageFrame {
  title: string
  assets: Record<AssetName, string>
  /** The path of the page, whose entry in the navigation is marked. */
  path: string
  /** The signed-in user; absent before sign-in and on error pages. */
  actor?: Actor | undefined
  /** The pages that the user may open, in order. */
  nav?: readonly NavItem[]
  /** The session's token for the sign-out form. */
  token?: string | undefined
  /** The reader's time zone. */
  zone: string
  children?: Child
}

/** Keeps htmx within the content security policy: no inline styles and no evaluated code. */
const htmxConfig = JSON.stringify({
  includeIndicatorCSS: false,
  history: false,
  noSwap: [204, 304, '4xx', '5xx'],
})

export const PageLayout = ({
  title,
  assets,
  path,
  actor,
  nav = [],
  token,
  zone,
  children,
}: PageFrame): PageElement => (
  <html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="color-scheme" content="light dark" />
      <meta name="htmx-config" content={htmxConfig} />
      <title>{title === 'Tenure' ? title : `${title} · Tenure`}</title>
      <link rel="stylesheet" href={assets['style.css']} />
      <link rel="icon" href={assets['icon.svg']} type="image/svg+xml" />
      <script src={assets['htmx.js']} defer></script>
      <script src={assets['page.js']} defer></script>
    </head>
    <body>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header class="top">
        <a class="brand" href="/">
          <img src={assets['icon.svg']} alt="" width="22" height="22" />
          Tenure
        </a>
        {nav.length > 0 && <Navigation path={path} nav={nav} />}
        {nav.length > 0 && (
          <a class="button second find" href="/search" aria-keyshortcuts="Control+K Meta+K">
            Search <kbd>Ctrl K</kbd>
          </a>
        )}
        <span class="zone" data-zone={zone} title={`Times are in ${zone}`}>
          {zoneName(zone, Date.now())}
        </span>
        {actor && <Account actor={actor} token={token} />}
        <div id="meaning" role="tooltip" popover="auto"></div>
      </header>
      {nav.length > 0 && <SearchDialog />}
      <p id="connection" class="connection" role="status"></p>
      <main id="main" tabindex={-1}>
        {children}
      </main>
      <footer class="bottom">
        <a href="/docs">API</a> · <a href="/docs/errors">Routes and errors</a> ·{' '}
        <a href="/glossary">Glossary</a> · <a href="/guide">Guide</a>
        {token !== undefined && [' · ', <a href="/device">Sign in on another device</a>]}
      </footer>
    </body>
  </html>
)

const Navigation = ({ path, nav }: { path: string; nav: readonly NavItem[] }): PageElement => (
  <nav aria-label="Pages">
    <ul>
      {nav.map((item) => (
        <li>
          <a href={item.path} {...(isWithin(path, item.path) ? { 'aria-current': 'page' } : {})}>
            {item.word}
          </a>
        </li>
      ))}
    </ul>
  </nav>
)

/** The search dialog, which a script opens. Without script, the button leads to the search page. */
const SearchDialog = (): PageElement => (
  <dialog id="search" aria-label="Search">
    <input
      type="search"
      name="q"
      aria-label="Search models, versions, releases, runs and audit"
      placeholder="Search models, versions, releases, runs, audit"
      maxlength={200}
      autocomplete="off"
      hx-get="/search"
      hx-trigger="input changed delay:150ms"
      hx-select="#results"
      hx-target="#found"
      hx-sync="this:replace"
    />
    <div id="found"></div>
    <p class="quiet small">
      <kbd>↑</kbd> <kbd>↓</kbd> to choose, <kbd>Enter</kbd> to open, <kbd>Esc</kbd> to close
    </p>
  </dialog>
)

const Account = ({ actor, token }: { actor: Actor; token: string | undefined }): PageElement => (
  <div class="account">
    <span class="who" title={actor.models && `Models: ${[...actor.models].join(', ')}`}>
      {actor.name} <span class="quiet">({actor.role})</span>
    </span>
    {token !== undefined && (
      <form method="post" action="/sign-out">
        <TokenField token={token} />
        <button class="plain">Sign out</button>
      </form>
    )}
  </div>
)

const isWithin = (path: string, place: string): boolean =>
  place === '/' ? path === '/' : path === place || path.startsWith(`${place}/`)
