/** Tests how the mapping of groups to roles is read: a pair that is cut elsewhere would give a role to another group. */
import { expect, it } from 'vitest'
import { parseOidc } from '../../../domain/access/oidc-config.ts'

const read = (roles: string) => {
  const issues: string[] = []
  const config = parseOidc(
    {
      TENURE_OIDC_ISSUER: 'https://id.example',
      TENURE_OIDC_CLIENT_ID: 'tenure',
      TENURE_OIDC_REDIRECT: 'https://tenure.example/sign-in/callback',
      TENURE_OIDC_ROLES: roles,
    },
    issues,
    { keyDays: 30, privateHosts: [] },
  )
  return { roles: config?.roles, issues }
}

it.each([
  [
    'ml-approvers=approver,staff=viewer',
    [
      ['ml-approvers', 'approver'],
      ['staff', 'viewer'],
    ],
  ],
  ['role=admin=viewer', [['role=admin', 'viewer']]],
  ['team=ml=approver', [['team=ml', 'approver']]],
  [
    ' ml-approvers = approver , staff=viewer, ',
    [
      ['ml-approvers', 'approver'],
      ['staff', 'viewer'],
    ],
  ],
  [
    'CN=ml-approvers,OU=Groups,DC=corp=approver,staff=viewer,cn=all,dc=corp=viewer',
    [
      ['CN=ml-approvers,OU=Groups,DC=corp', 'approver'],
      ['staff', 'viewer'],
      ['cn=all,dc=corp', 'viewer'],
    ],
  ],
])('%s gives each role to its own group', (given, expected) =>
  expect(read(given)).toEqual({ roles: expected, issues: [] }),
)

it.each([
  ['ml-approvers=Approver', '"ml-approvers=Approver"'],
  ['ml=aprover,staff=admin', '"ml=aprover"'],
  ['=admin', '"=admin"'],
  ['staff', '"staff"'],
  ['staff=predictor', '"staff=predictor"'],
  ['CN=ml,staff=admin', '"CN=ml,staff=admin"'],
  ['CN=ml,OU=Groups', '"CN=ml,OU=Groups" without a role'],
  [',', 'has no role'],
  ['', 'has no role'],
])('%s is refused with the faulty pair', (given, why) => expect(read(given).issues.join()).toContain(why))
