"""Users, workspaces and who belongs to which."""

from __future__ import annotations

from typing import ClassVar, Self

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import connection, models, transaction
from django.db.models.functions import Lower
from django.utils import timezone

from marketplace.ids import uuid7


class UserManager(BaseUserManager["User"]):
    """Creates users by e-mail address; the very first one is staff."""

    def create_user(
        self, email: str, password: str | None = None, *, name: str = "", hashed: str = ""
    ) -> User:
        """Make a user; `hashed` is a password that was hashed before."""
        user = self.model(email=self.normalize_email(email).lower(), name=name)
        if hashed:
            user.password = hashed
        else:
            user.set_password(password)
        with transaction.atomic():
            if not self.exists():
                with connection.cursor() as cursor:  # of two that come first at once, one is
                    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('vitrine first user'))")
                user.is_staff = not self.exists()
            user.save()
        return user

    def get_by_natural_key(self, username: str | None) -> User:
        """The user who signs in as `username`: an e-mail address in any case."""
        return self.get(email__iexact=username)

    def create_superuser(self, email: str, password: str | None = None) -> User:
        user = self.create_user(email, password)
        user.is_staff = user.is_superuser = True
        user.save(update_fields=["is_staff", "is_superuser"])
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in, by e-mail address."""

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=80, blank=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    starter_at = models.DateTimeField(null=True, blank=True, help_text="when the starter credit was granted")
    starter_from = models.CharField(
        max_length=40, blank=True, db_default="", help_text="trace of the network it was granted to"
    )
    closed_at = models.DateTimeField(
        null=True, blank=True, help_text="the person left; who it was is forgotten"
    )

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_unique")]
        indexes = [
            models.Index(
                fields=["starter_at"], name="user_starter", condition=models.Q(starter_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.email

    def get_short_name(self) -> str:
        return self.name or self.email.partition("@")[0]


class WorkspaceQuerySet(models.QuerySet["Workspace"]):
    """Filters over workspaces."""

    def open(self) -> Self:
        return self.filter(closed_at__isnull=True)


class Workspace(models.Model):
    """The tenant: pays, earns, and owns keys, runs and assets. A closed one stays for the books and does nothing."""

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    slug = models.SlugField(max_length=39, unique=True)
    name = models.CharField(max_length=80)
    output_days = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="days until an output expires; none: as the installation says"
    )
    max_open_runs = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="runs that may be open at once; none: as the installation says; 0: any number",
    )
    created_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)
    members: models.ManyToManyField[User, Membership] = models.ManyToManyField(
        User, through="Membership", related_name="workspaces"
    )

    objects = WorkspaceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(output_days__isnull=True)
                | models.Q(output_days__gte=1, output_days__lte=365),
                name="workspace_output_days",
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def is_closed(self) -> bool:
        return self.closed_at is not None


class Membership(models.Model):
    """One user's place in one workspace."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        ADMIN = "admin", "Admin"
        DEVELOPER = "developer", "Developer"
        BILLING = "billing", "Billing"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role.choices, default=Role.OWNER)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "workspace"], name="membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=["owner", "admin", "developer", "billing"]),
                name="membership_role",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.workspace} as {self.role}"


class Invitation(models.Model):
    """Somebody is asked into a workspace, by a mailed link. Only a hash of its token is kept."""

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(max_length=254, help_text="in lower case")
    role = models.CharField(max_length=12, choices=Membership.Role.choices)
    token_sha256 = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(default=timezone.now, help_text="when it was mailed last")
    sends = models.PositiveSmallIntegerField(default=1)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "email"],
                condition=models.Q(accepted_at__isnull=True, revoked_at__isnull=True),
                name="invitation_pending_once",
            ),
            models.CheckConstraint(
                condition=models.Q(accepted_at__isnull=True) | models.Q(revoked_at__isnull=True),
                name="invitation_one_end",
            ),
            models.CheckConstraint(
                condition=models.Q(role__in=["owner", "admin", "developer", "billing"]),
                name="invitation_role",
            ),
        ]
        indexes = [models.Index(fields=["workspace", "sent_at"], name="invitation_sent")]

    def __str__(self) -> str:
        return f"{self.email} to {self.workspace}"

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()
