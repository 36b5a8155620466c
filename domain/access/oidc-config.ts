/** Parses the configuration variables of an OpenID Connect provider. */
import { programRoles, roles, type Role } from '../roles.ts'

/** An OpenID Connect provider and its role mapping. */
export interface OidcConfig {
  issuer: string
  clientId: string
  /** Absent for a public client, which only PKCE protects. */
  clientSecret?: string
  /** The URL of `/sign-in/callback` as browsers reach it. */
  redirect: string
  /** The scopes to ask for, separated by spaces. */
  scope: string
  nameClaim: string
  roleClaim: string
  /** Claim value → role; the first match counts. */
  roles: [string, Role][]
  /** After this many days without a sign-in, the key of a user expires. */
  keyDays: number
  /** The private hosts that the metadata of the provider may name, besides the issuer. */
  privateHosts: readonly string[]
}

/** Requires all variables or none, because a partial configuration would admit every user or none. */
export function parseOidc(
  environment: Readonly<Record<string, string | undefined>>,
  issues: string[],
  rest: Pick<OidcConfig, 'keyDays' | 'privateHosts'>,
): OidcConfig | undefined {
  /** A blank value counts as absent. */
  const given = (name: string, fallback = ''): string => environment[name]?.trim() || fallback
  const issuer = given('TENURE_OIDC_ISSUER')
  const clientId = given('TENURE_OIDC_CLIENT_ID')
  const clientSecret = given('TENURE_OIDC_CLIENT_SECRET') || undefined
  const redirect = given('TENURE_OIDC_REDIRECT')
  const scope = given('TENURE_OIDC_SCOPE', 'openid email profile')
  const nameClaim = given('TENURE_OIDC_NAME_CLAIM', 'email')
  const roleClaim = given('TENURE_OIDC_ROLE_CLAIM', 'groups')
  const mapped = given('TENURE_OIDC_ROLES')
  if (issuer === '') {
    if (clientId !== '' || mapped !== '')
      issues.push('TENURE_OIDC_ISSUER is missing: TENURE_OIDC_CLIENT_ID and TENURE_OIDC_ROLES need it')
    return undefined
  }
  const safe = (address: string) => /^https:\/\/.|^http:\/\/(127\.|localhost[:/]|\[::1\])/.test(address)
  if (!safe(issuer)) issues.push('TENURE_OIDC_ISSUER is an https:// address')
  if (clientId === '') issues.push('TENURE_OIDC_CLIENT_ID is missing')
  if (!safe(redirect) || !redirect.endsWith('/sign-in/callback'))
    issues.push('TENURE_OIDC_REDIRECT is the https:// address of /sign-in/callback')
  // Of a response without the scope openid, no ID token tells who has signed in (OpenID Connect Core, 3.1.2.1).
  const scopes = scope.split(' ')
  if (!scopes.includes('openid') || !scopes.every((each) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(each)))
    issues.push('TENURE_OIDC_SCOPE is a list of scopes with openid, such as "openid email profile groups"')
  const pairs = pairsOf(mapped, issues)
  return { issuer, clientId, clientSecret, redirect, scope, nameClaim, roleClaim, roles: pairs, ...rest }
}

const personRoles = roles.filter((role) => !programRoles.includes(role))
/** A part of a name of LDAP, such as `OU=Groups`, which has commas between its parts. */
const ldapPart = /^(?:CN|OU|DC|O|L|ST|C|UID|SN|STREET)=[^=]+$/i

/**
 * Reads `group=role` pairs with commas between them. The last `=` of a pair divides it, because a group may have one, and commas within the
 * name of a group of LDAP divide none. Otherwise another group would get the role.
 */
function pairsOf(mapped: string, issues: string[]): [string, Role][] {
  const pairs: [string, Role][] = []
  let ldap: string[] = []
  for (const part of mapped.split(',').map((each) => each.trim())) {
    if (part === '' && ldap.length === 0) continue
    const at = part.lastIndexOf('=')
    const role = part.slice(at + 1).trim() as Role
    const own = part.slice(0, Math.max(0, at)).trim()
    const isLdap = ldap.length === 0 || ldapPart.test(own)
    if (personRoles.includes(role) && own !== '' && isLdap) {
      pairs.push([[...ldap, own].join(','), role])
      ldap = []
    } else if (ldapPart.test(part)) ldap.push(part)
    else {
      issues.push(
        `TENURE_OIDC_ROLES has ${JSON.stringify([...ldap, part].join(','))}: give each group as GROUP=ROLE with a role of ${personRoles.join(', ')}, such as ml-approvers=approver,all-staff=viewer`,
      )
      return pairs
    }
  }
  if (ldap.length > 0 || pairs.length === 0)
    issues.push(
      `TENURE_OIDC_ROLES ${ldap.length > 0 ? `has ${JSON.stringify(ldap.join(','))} without a role` : 'has no role'}: give each group as GROUP=ROLE, such as ml-approvers=approver,all-staff=viewer`,
    )
  return pairs
}
