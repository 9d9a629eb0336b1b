import uuid

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models


class Stamped(models.Model):
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class Degree(Stamped):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    slug = models.SlugField(unique=True)
    title = models.CharField(max_length=100)


class Course(Stamped):
    class Level(models.TextChoices):
        BASIC = "basic"
        ADVANCED = "advanced"

    code = models.CharField(max_length=20)
    year = models.PositiveSmallIntegerField()
    points = models.DecimalField(max_digits=4, decimal_places=1)
    level = models.CharField(max_length=10, choices=Level, default=Level.BASIC)
    notes = models.JSONField(default=dict)
    degrees = models.ManyToManyField(Degree, related_name="courses")
    requires = models.ForeignKey("self", models.PROTECT, null=True)

    class Meta:
        constraints = [  # noqa: RUF012
            models.UniqueConstraint(fields=["code", "year"], name="course_code_year"),
            models.CheckConstraint(condition=models.Q(points__gt=0), name="course_points"),
        ]


class Room(models.Model):
    building = models.CharField(max_length=10)
    number = models.IntegerField()
    open_from = models.TimeField(null=True)

    class Meta:
        unique_together = [("building", "number")]  # noqa: RUF012


class Note(models.Model):
    slug = models.SlugField(unique=True)
    text = models.TextField()
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.PositiveBigIntegerField()
    about = GenericForeignKey()
